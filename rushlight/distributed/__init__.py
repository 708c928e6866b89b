"""torch.distributed as a PyTorch built without it answers: is_available() is False, and programs go on in one process."""


def is_available():
    """Whether there is communication between processes: no."""
    return False


def is_initialized():
    """Whether a process group exists: no."""
    return False


def is_torchelastic_launched():
    """Whether torchrun started the program."""
    import os

    return "TORCHELASTIC_RUN_ID" in os.environ


def _no_backend():
    return False


is_mpi_available = is_nccl_available = is_gloo_available = is_ucc_available = is_xccl_available = _no_backend


class ProcessGroup:
    """Stands in annotations; there are no process groups."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError("torch.distributed: process groups are not implemented; is_available() is False")
