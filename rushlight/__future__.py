"""Switches of Module.to(): whether converted parameters are new objects. Kept for programs that set them."""


def set_overwrite_module_params_on_conversion(value):
    """Replace parameters by new ones when a module is converted."""
    if value:
        raise NotImplementedError("overwrite_module_params_on_conversion is not implemented")


def get_overwrite_module_params_on_conversion():
    """False: a conversion changes the data of the parameters in place."""
    return False


def set_swap_module_params_on_conversion(value):
    """Swap parameters with their converted copies when a module is converted."""
    if value:
        raise NotImplementedError("swap_module_params_on_conversion is not implemented")


def get_swap_module_params_on_conversion():
    """False: a conversion changes the data of the parameters in place."""
    return False
