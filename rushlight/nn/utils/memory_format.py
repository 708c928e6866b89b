"""Converting the memory format of convolution weights."""


def _convert(module, memory_format, kinds):
    if isinstance(module, kinds):
        module.weight.data = module.weight.detach().clone().contiguous(memory_format=memory_format)
    for child in module.children():
        _convert(child, memory_format, kinds)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """Converts the weights of all Conv2d and ConvTranspose2d in the module."""
    import rushlight as rl

    return _convert(module, memory_format, (rl.nn.Conv2d, rl.nn.ConvTranspose2d))


def convert_conv3d_weight_memory_format(module, memory_format):
    """Converts the weights of all Conv3d and ConvTranspose3d in the module."""
    import rushlight as rl

    return _convert(module, memory_format, (rl.nn.Conv3d, rl.nn.ConvTranspose3d))
