"""Writes tools/torch_names.json, the public names of the installed PyTorch, which tools/coverage.py compares with ours.

Run it with an interpreter that has PyTorch. A name is public when it has no underscore in front, is no module, was not
brought in by an import from elsewhere, and is documented, listed in the namespace's
__all__, a plain constant, or in the table UNDOCUMENTED below.
"""

import importlib
import inspect
import json
import re
from pathlib import Path

NAMESPACES = [
    "torch", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "optim", "optim.lr_scheduler", "linalg", "fft",
    "special", "utils.data", "autograd", "distributions",
]  # fmt: skip
OUT = Path(__file__).with_name("torch_names.json")

# In these namespaces __all__ is not written by hand for readers, leaves names out, or does not exist.
WITHOUT_LIST = {"torch", "Tensor", "nn", "nn.functional", "linalg", "fft", "special"}
# Operators of one backend, and names that are there for the library itself.
INTERNAL = re.compile(
    r"^(cudnn_|miopen_|mkldnn_|fbgemm_|quantized_|fake_quantize_|fused_moving|q_|choose_qparams|native_|int_repr"
    r"|has_torch_function|handle_torch_function|boolean_dispatch|assert_int_or_pair|merge_type|get_file_path"
    r"|prepare_multiprocessing|common_args|factory_common_args|multi_dim_common|USE_|PRIVATE_OPS|TYPE_CHECKING"
    r"|compiled_with_cxx11_abi|init_num_threads|thread_safe_generator|float4_|fork$|wait$|import_ir_module|parse_|unify_type|bit$|bits\d|u?int[1-7]$)"
)
# What torch holds of classes beside the internal types of its compiler.
CLASSES = re.compile(
    r"^(Event|Generator|Stream|Size|Tag|Tensor|\w+Tensor|\w*Storage|Sym(Bool|Float|Int)|\w+Error|GradScaler|[a-z]\w+)$"
)
# Used by programs although they have no documentation string.
UNDOCUMENTED = {
    "torch": """alpha_dropout batch_norm binary_cross_entropy_with_logits binomial celu clamp_max clamp_min
        constant_pad_nd convolution cosine_embedding_loss ctc_loss detach dropout embedding embedding_bag
        feature_alpha_dropout fill get_autocast_dtype group_norm gru gru_cell hinge_embedding_loss index_fill
        index_put instance_norm is_anomaly_enabled is_autocast_enabled is_neg is_same_size is_signed kl_div
        layer_norm log_softmax lstm lstm_cell margin_ranking_loss masked_fill masked_scatter max_pool1d
        max_pool1d_with_indices max_pool2d max_pool3d poisson_nll_loss relu rms_norm rnn_relu rnn_relu_cell rnn_tanh
        rnn_tanh_cell rrelu rsub saddmm scalar_tensor selu split_with_sizes spmm sym_sqrt threshold
        triplet_margin_loss""".split(),
    "Tensor": """ccol_indices clamp_max clamp_max_ clamp_min clamp_min_ data dtype grad_fn hash_tensor index_reduce
        is_mkldnn is_nested is_nonzero is_same_size layout log_softmax name new output_nr prelu relu relu_ resize
        resize_as row_indices split_with_sizes""".split(),
}


def is_public(torch, space, holder, name):
    value = getattr(holder, name)
    if name.startswith("_") or inspect.ismodule(value) or INTERNAL.match(name):
        return False
    if name in UNDOCUMENTED.get(space, ()):
        return True
    listed = getattr(holder, "__all__", None)
    if listed is not None and space not in WITHOUT_LIST:
        return name in listed
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format, bool, int, float)):
        return True
    if space == "Tensor":
        return bool(getattr(value, "__doc__", None)) and not hasattr(object, name)
    if not (getattr(value, "__module__", None) or "torch").startswith("torch"):
        return False
    if inspect.isclass(value):
        return bool(CLASSES.match(name)) if space == "torch" else value is not torch.Tensor
    base = name[:-1]
    if space == "torch" and name.endswith("_") and hasattr(torch, base) and is_public(torch, space, holder, base):
        return True  # the in-place form of a function
    return callable(value) and bool(getattr(value, "__doc__", None))


def main():
    torch = importlib.import_module("torch")
    found = {}
    for space in NAMESPACES:
        if space == "Tensor":
            holder = torch.Tensor
        else:
            holder = torch if space == "torch" else importlib.import_module("torch." + space)
        names = sorted(set(dir(holder)) | set(getattr(holder, "__all__", ())))
        found[space] = [n for n in names if hasattr(holder, n) and is_public(torch, space, holder, n)]
    version = torch.__version__.partition("+")[0]
    lines = [f'  "{space}": [\n    {wrap(names)}\n  ]' for space, names in found.items()]
    OUT.write_text('{\n  "version": "' + version + '",\n' + ",\n".join(lines) + "\n}\n")
    json.loads(OUT.read_text())
    for space, names in found.items():
        print(f"{space:20s} {len(names):4d}")


def wrap(names, width=110):
    """The names as JSON strings, in lines of a readable width."""
    lines, line = [], ""
    for position, name in enumerate(names):
        item = f'"{name}"' + ("," if position + 1 < len(names) else "")
        if line and len(line) + len(item) + 1 > width:
            lines.append(line)
            line = ""
        line += (" " if line else "") + item
    return "\n    ".join([*lines, line])


if __name__ == "__main__":
    main()
