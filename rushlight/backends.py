"""Backend switches that programs set or ask. Those of backends that rushlight does not use answer and change nothing."""


class _Backend:
    """Attributes of one backend; unknown ones can be set, as programs do."""

    def __init__(self, available=False, **flags):
        self._available = available
        self.__dict__.update(flags)

    def is_available(self):
        """Whether the backend can be used."""
        return self._available

    def is_built(self):
        """Whether the backend is part of this build."""
        return self._available


cudnn = _Backend(enabled=False, benchmark=False, deterministic=False, allow_tf32=True)
cudnn.version = lambda: None
cuda = _Backend(matmul=_Backend(allow_tf32=False, allow_fp16_reduced_precision_reduction=True))
mps = _Backend()
mkl = _Backend()
mkldnn = _Backend(enabled=False, deterministic=False)
openmp = _Backend()
opt_einsum = _Backend(enabled=False, strategy=None)


class _Cpu(_Backend):
    def get_cpu_capability(self):
        """The instruction set in use: "AVX512", "AVX2" or "DEFAULT"."""
        from . import _C

        return {"v4": "AVX512", "v3": "AVX2"}.get(_C._isa_name(), "DEFAULT")


cpu = _Cpu(True)
