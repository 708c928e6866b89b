"""Affine and bilinear maps of the last dimension."""

import numpy as np

import rushlight

from ..._composite import autocasts, core, core_first, sampled

linear = core("linear")
_C_NAMES = {rushlight.int64: "long int", rushlight.float32: "float", rushlight.float64: "double", rushlight.int32: "int"}


@sampled(
    "x(5,3), x(5,4), x(2,3,4)",
    "x(5,3), x(5,4), x(2,3,4), x(2)",
    ref=lambda a, b, weight, bias=0: np.einsum("...i,oij,...j->...o", a, weight, b) + bias,
)
@core_first("bilinear")
@autocasts("as it is")
def bilinear(input1, input2, weight, bias=None):
    """y[o] = input1 @ weight[o] @ input2 + bias[o], over the last dimension of both inputs."""
    if input1.dim() != input2.dim():
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}"
        )
    tensors = {"input1": input1, "input2": input2, "weight": weight, "bias": bias}
    dtypes = {name: t.dtype for name, t in tensors.items() if t is not None}
    if len(set(dtypes.values())) > 1:
        given = ", ".join(f"{name}: {_C_NAMES.get(dtype, dtype)}" for name, dtype in dtypes.items())
        raise RuntimeError(f"All tensors must have the same dtype, got {given}")
    for dim in range(input1.dim() - 1):
        if input1.size(dim) != input2.size(dim):
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {dim}: "
                f"got {input1.size(dim)} and {input2.size(dim)}"
            )
    for k, input in ((1, input1), (2, input2)):
        if input.size(-1) != weight.size(k):
            raise RuntimeError(
                f"bilinear(): input{k} size does not match weight size: got {input.size(-1)} "
                f"but expected {weight.size(k)}"
            )
    out_features, in1, in2 = weight.shape
    if bias is not None and bias.size(0) != out_features:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.size(0)} but expected {out_features}"
        )
    batch = input1.shape[:-1]
    left = input1.reshape(-1, in1) @ weight.permute(1, 0, 2).reshape(in1, out_features * in2)
    product = left.reshape(-1, out_features, in2) * input2.reshape(-1, 1, in2)  # (batch, out, in2)
    output = product.sum(-1).view(*batch, out_features)
    return output if bias is None else output + bias
