"""What libraries ask a compiler front end that does not exist here."""


def is_compile_supported(device_type):
    """Whether functions can be compiled for a device: no."""
    return False
