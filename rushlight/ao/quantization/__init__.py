"""The stubs that mark where a model would be quantised: identities. Preparing and converting models is not implemented."""

from ...nn import Module


class QuantStub(Module):
    """Marks where values would be quantised: gives its input."""

    def __init__(self, qconfig=None):
        super().__init__()
        if qconfig:
            self.qconfig = qconfig

    def forward(self, x):
        return x


class DeQuantStub(QuantStub):
    """Marks where values would be turned back into floating point: gives its input."""


def __getattr__(name):
    if name in ("convert", "prepare", "prepare_qat", "fuse_modules", "fuse_modules_qat", "quantize_dynamic", "quantize"):

        def missing(*args, **kwargs):
            raise NotImplementedError(f"torch.ao.quantization.{name}: quantisation of models is not implemented")

        return missing
    raise AttributeError(f"module 'torch.ao.quantization' has no attribute '{name}'")
