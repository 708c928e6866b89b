"""All parameters as one vector, and back."""

import rushlight as rl
from rushlight import Tensor


def _check_device(parameter, device):
    if device is not None and parameter.device != device:
        raise TypeError(
            f"Found two parameters on different devices, {device} and {parameter.device}; this is not supported."
        )
    return parameter.device


def parameters_to_vector(parameters):
    """The parameters, flattened one after another."""
    parts, device = [], None
    for parameter in parameters:
        device = _check_device(parameter, device)
        parts.append(parameter.view(-1))
    return rl.cat(parts)


def vector_to_parameters(vec, parameters):
    """Gives the parameters the values of the slices of vec; they become views of it."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start, device = 0, None
    for parameter in parameters:
        device = _check_device(parameter, device)
        end = start + parameter.numel()
        parameter.data = vec[start:end].view_as(parameter).data
        start = end
