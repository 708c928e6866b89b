"""Backend switches that programs set or ask. Those of backends that rushlight does not use answer and change nothing."""

from contextlib import contextmanager

from . import _C


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
    """The CPU: which instruction set is in use, and which algorithms may be chosen."""

    def get_cpu_capability(self):
        """The instruction set in use: "AVX512", "AVX2" or "DEFAULT"."""
        return {"v4": "AVX512", "v3": "AVX2"}.get(_C._isa_name(), "DEFAULT")

    @property
    def conv_winograd(self):
        """Whether 3x3 convolutions with stride 1 may use Winograd's algorithm F(2x2, 3x3) (Lavin and Gray, 2016).

        True from the start; one switch for all threads of the process. It concerns float32, float16 and bfloat16, the
        result and both gradients, with one group, no dilation, 24 to 2048 channels on both sides and at least 24
        tiles of 2x2 outputs in the batch. All others are computed as sums of products, and so is a result that turns out
        to hold infinities or NaN. Either way gives the same bits for any number of threads.

        Errors against float64 in relation to the root mean square of the results, root mean square and largest, for
        as many outputs as channels; x has the variance 1 and the mean 0 or 10:

        ==============================  ===============  ===============  ================
        shape of x                      Winograd         direct           PyTorch 2.13
        ==============================  ===============  ===============  ================
        2, 64, 56, 56                   2.6e-7, 1.5e-6   2.8e-7, 2.2e-6   2.2e-7, 1.5e-6
        2, 256, 28, 28                  2.7e-7, 1.4e-6   2.9e-7, 1.8e-6   2.3e-7, 1.3e-6
        2, 64, 56, 56, mean 10          1.8e-7, 1.3e-6   2.7e-7, 2.1e-6   1.8e-7, 1.3e-6
        4, 64, 56, 56, by the weight    3.4e-7, 1.8e-6   3.0e-7, 1.4e-6   1.4e-6, 9.5e-6
        4, 256, 14, 14, by the weight   2.7e-7, 1.8e-6   2.4e-7, 2.1e-6   4.8e-7, 5.7e-6
        the first of them, mean 10      2.3e-7, 1.2e-6   3.3e-7, 1.3e-6   1.4e-6, 8.6e-6
        ==============================  ===============  ===============  ================

        >>> rl.backends.cpu.conv_winograd
        True
        """
        return _C._conv_winograd()

    @conv_winograd.setter
    def conv_winograd(self, enabled):
        _C._set_conv_winograd(enabled)

    @contextmanager
    def flags(self, conv_winograd=True):
        """Sets the switches within a block, and what they were after it.

        >>> with rl.backends.cpu.flags(conv_winograd=False):
        ...     rl.backends.cpu.conv_winograd
        False
        """
        before = self.conv_winograd
        self.conv_winograd = conv_winograd
        try:
            yield
        finally:
            self.conv_winograd = before


cpu = _Cpu(True)
