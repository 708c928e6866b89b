"""Matrix products of groups that differ in size, and of matrices that carry scales."""

import enum

import rushlight


class ScalingType(enum.Enum):
    """What one scale of a scaled matrix covers."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.Enum):
    """The order in which the scales of blocks lie in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def grouped_mm(mat_a, mat_b, *, offs=None, bias=None, out_dtype=None):
    """One matrix product per group, as the experts of a mixture need them.

    Shapes: (G, M, K) @ (G, K, N) gives (G, M, N). A matrix of two dimensions holds all groups behind one another
    along the dimension that is not G: (M, K) @ (G, K, N) gives (M, N), (G, M, K) @ (K, N) gives (M, N), and
    (M, K) @ (K, N), cut along K, gives (G, M, N).

    Args:
        offs: where each group ends, int32 of shape (G), if a matrix has two dimensions. Entries beyond the last
            offset are left out; where the result has such rows or columns, they are 0.
    """
    for name, matrix in (("mat_a", mat_a), ("mat_b", mat_b)):
        if matrix.dim() not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
        if not matrix.is_floating_point():
            kind = matrix.type().rpartition(".")[2].removesuffix("Tensor")
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {kind}")
    jagged = mat_a.dim() == 2 or mat_b.dim() == 2
    if jagged != (offs is not None):
        raise RuntimeError(
            "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d"
        )
    if (mat_a.dim() == 3 or mat_b.dim() == 3) and mat_a.size(-1) != mat_b.size(-2):
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if not jagged:
        result = mat_a @ mat_b
    else:
        if offs.dim() != 1:
            raise RuntimeError("offs has to be 1D")
        if offs.dtype != rushlight.int32:
            raise RuntimeError("Offsets have to be int32")
        ends = offs.tolist()
        groups = [slice(start, end) for start, end in zip([0, *ends], ends)]
        if mat_a.dim() == 2 and mat_b.dim() == 2:
            result = rushlight.stack([mat_a[:, g] @ mat_b[g] for g in groups])
        elif mat_a.dim() == 2:
            parts = [mat_a[g] @ matrix for g, matrix in zip(groups, mat_b.unbind())]
            rest = mat_a.new_zeros(max(0, mat_a.size(0) - ends[-1]), mat_b.size(2))
            result = rushlight.cat([*parts, rest])
        else:
            parts = [matrix @ mat_b[:, g] for g, matrix in zip(groups, mat_a.unbind())]
            rest = mat_a.new_zeros(mat_a.size(1), max(0, mat_b.size(1) - ends[-1]))
            result = rushlight.cat([*parts, rest], 1)
    if bias is not None:
        result = result + bias
    return result if out_dtype is None else result.to(out_dtype)


def _one(value):
    return value[0] if isinstance(value, (list, tuple)) else value


def _with_scale(matrix, scale, recipe, swizzle, name):
    """The matrix in float32, multiplied by its scale."""
    if isinstance(scale, (list, tuple)) and len(scale) > 1:
        raise NotImplementedError(f"scaled_mm: several levels of scales ({name}) are not implemented")
    scale, recipe = _one(scale), _one(recipe)
    if recipe not in (ScalingType.TensorWise, ScalingType.RowWise):
        raise NotImplementedError(f"scaled_mm: the recipe {recipe} of {name} is not implemented")
    if _one(swizzle) not in (None, SwizzleType.NO_SWIZZLE):
        raise NotImplementedError(f"scaled_mm: the swizzle {_one(swizzle)} of {name} is not implemented")
    return matrix.to(rushlight.float32) * scale


def scaled_mm(
    mat_a,
    mat_b,
    scale_a,
    scale_recipe_a,
    scale_b,
    scale_recipe_b,
    swizzle_a=None,
    swizzle_b=None,
    bias=None,
    output_dtype=rushlight.bfloat16,
    contraction_dim=(),
    use_fast_accum=False,
):
    """(mat_a * scale_a) @ (mat_b * scale_b) + bias, computed in float32.

    Args:
        scale_recipe_a, scale_recipe_b: ScalingType.TensorWise (a scale of one element) or RowWise (scales (M, 1) and
            (1, N)); the recipes by blocks are not implemented.
        use_fast_accum: accepted; it concerns other devices.
    """
    if contraction_dim:
        raise NotImplementedError("scaled_mm: contraction_dim is not implemented")
    a = _with_scale(mat_a, scale_a, scale_recipe_a, swizzle_a, "mat_a")
    b = _with_scale(mat_b, scale_b, scale_recipe_b, swizzle_b, "mat_b")
    result = a @ b
    if bias is not None:
        result = result + bias
    return result.to(output_dtype or mat_a.dtype)


def scaled_grouped_mm(
    mat_a,
    mat_b,
    scale_a,
    scale_recipe_a,
    scale_b,
    scale_recipe_b,
    swizzle_a=None,
    swizzle_b=None,
    bias=None,
    offs=None,
    output_dtype=rushlight.bfloat16,
    contraction_dim=(),
    use_fast_accum=False,
):
    """grouped_mm of matrices with scales, computed in float32.

    Scales by rows have the shape of the matrix without its contracted dimension, so that (M) and (G, N) belong to
    (M, K) @ (G, K, N).
    """
    if contraction_dim:
        raise NotImplementedError("scaled_grouped_mm: contraction_dim is not implemented")
    if mat_a.dim() == 2 and mat_b.dim() == 2:
        raise NotImplementedError(
            "scaled_grouped_mm: groups along the contracted dimension are not implemented"
        )
    a_scale, b_scale = _one(scale_a), _one(scale_b)
    if _one(scale_recipe_a) is ScalingType.RowWise:
        a_scale = a_scale.unsqueeze(-1)
    if _one(scale_recipe_b) is ScalingType.RowWise:
        b_scale = b_scale.unsqueeze(-2)
    a = _with_scale(mat_a, a_scale, scale_recipe_a, swizzle_a, "mat_a")
    b = _with_scale(mat_b, b_scale, scale_recipe_b, swizzle_b, "mat_b")
    return grouped_mm(a, b, offs=offs, bias=bias, out_dtype=output_dtype or mat_a.dtype)
