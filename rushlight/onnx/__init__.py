"""torch.onnx as far as libraries need it to be imported: nothing can be exported."""

__all__ = ["export", "is_in_onnx_export", "register_custom_op_symbolic", "unregister_custom_op_symbolic"]


def is_in_onnx_export():
    """Whether a model is being exported: never."""
    return False


def export(*args, **kwargs):
    """Not implemented."""
    raise NotImplementedError("torch.onnx.export: export to ONNX is not implemented")


def register_custom_op_symbolic(symbolic_name, symbolic_fn, opset_version):
    """Accepted, for exports that cannot happen."""


def unregister_custom_op_symbolic(symbolic_name, opset_version):
    """Accepted, for exports that cannot happen."""
