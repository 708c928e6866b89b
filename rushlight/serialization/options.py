"""Process-wide settings of save and load."""

from enum import Enum


class LoadEndianness(Enum):
    NATIVE = 1
    LITTLE = 2
    BIG = 3


_settings = {"endianness": None, "crc32": True, "mmap": None}


def set_crc32_options(compute_crc32):
    """Whether saving computes the checksums of the records, which zip tools verify, and loading verifies them.

    A record whose checksum is zero was saved without; it loads in any case. Mapped files (mmap=True) are not verified.
    """
    _settings["crc32"] = bool(compute_crc32)


def get_crc32_options():
    return _settings["crc32"]


def get_default_load_endianness():
    return _settings["endianness"]


def set_default_load_endianness(endianness):
    """The byte order of files that do not name one."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _settings["endianness"] = endianness


def get_default_mmap_options():
    import mmap

    return _settings["mmap"] if _settings["mmap"] is not None else mmap.MAP_PRIVATE


class set_default_mmap_options:
    """mmap.MAP_PRIVATE (changes stay in memory) or mmap.MAP_SHARED (changes go to the file); also for `with`."""

    def __init__(self, flags):
        import mmap

        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or "
                f"mmap.MAP_SHARED, but got {flags}"
            )
        self._before = _settings["mmap"]
        _settings["mmap"] = flags

    def __enter__(self):
        return None

    def __exit__(self, *error):
        _settings["mmap"] = self._before
