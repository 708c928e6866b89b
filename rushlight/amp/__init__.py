"""Mixed precision as programs ask for it: contexts that do nothing when disabled, a gradient scaler that does nothing
without a device that needs one."""

from .autocast_mode import autocast as autocast
from .autocast_mode import custom_bwd as custom_bwd
from .autocast_mode import custom_fwd as custom_fwd
from .autocast_mode import is_autocast_available as is_autocast_available
from .grad_scaler import GradScaler as GradScaler
