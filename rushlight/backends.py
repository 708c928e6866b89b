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


class _Cuda(_Backend):
    """The switches of scaled_dot_product_attention are kept here; there is one way to compute it on the CPU."""

    def __init__(self):
        super().__init__(matmul=_Backend(allow_tf32=False, allow_fp16_reduced_precision_reduction=True))
        self._sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}

    def flash_sdp_enabled(self):
        """Whether flash attention may be chosen."""
        return self._sdp["flash"]

    def enable_flash_sdp(self, enabled):
        """Sets whether flash attention may be chosen."""
        self._sdp["flash"] = bool(enabled)

    def mem_efficient_sdp_enabled(self):
        """Whether memory-efficient attention may be chosen."""
        return self._sdp["mem_efficient"]

    def enable_mem_efficient_sdp(self, enabled):
        """Sets whether memory-efficient attention may be chosen."""
        self._sdp["mem_efficient"] = bool(enabled)

    def math_sdp_enabled(self):
        """Whether attention may be computed by separate operators."""
        return self._sdp["math"]

    def enable_math_sdp(self, enabled):
        """Sets whether attention may be computed by separate operators."""
        self._sdp["math"] = bool(enabled)

    def cudnn_sdp_enabled(self):
        """Whether cuDNN's attention may be chosen."""
        return self._sdp["cudnn"]

    def enable_cudnn_sdp(self, enabled):
        """Sets whether cuDNN's attention may be chosen."""
        self._sdp["cudnn"] = bool(enabled)


cuda = _Cuda()
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
