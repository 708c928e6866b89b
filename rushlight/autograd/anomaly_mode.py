"""Anomaly mode: backward() checks for nan and tells where the failing operation was called in the forward pass."""

import warnings

from .. import _C

_ENTERED = (
    "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging."
)


class _AnomalyMode:
    def __init__(self):
        self.prev = _C.is_anomaly_enabled()
        self.prev_check_nan = _C.is_anomaly_check_nan_enabled()

    def __exit__(self, kind, value, traceback):
        _C._set_anomaly_enabled(self.prev, self.prev_check_nan)


class detect_anomaly(_AnomalyMode):
    """Inside, forward calls remember their traceback and backward() raises where a gradient becomes nan.

    Args:
        check_nan: look for nan in every gradient.
    """

    def __init__(self, check_nan=True):
        super().__init__()
        self.check_nan = bool(check_nan)
        warnings.warn(_ENTERED, stacklevel=2)

    def __enter__(self):
        _C._set_anomaly_enabled(True, self.check_nan)


class set_detect_anomaly(_AnomalyMode):
    """Switches anomaly mode on or off at once; as a context manager it goes back at the end.

    Args:
        mode: on or off.
        check_nan: look for nan in every gradient.
    """

    def __init__(self, mode, check_nan=True):
        super().__init__()
        _C._set_anomaly_enabled(bool(mode), bool(check_nan))

    def __enter__(self):
        pass
