"""save and load in PyTorch's file formats.

saving.py writes, with storages.py for the storages; loading.py reads; archive.py is the zip container, npz.py its
use by NumPy, legacy.py the format of before 1.6, unpickler.py the reader of pickles that runs no code, names.py the
names by which files call our objects, training.py all of a training run in one file.
"""

from .loading import load as load
from .npz import load_npz as load_npz
from .npz import save_npz as save_npz
from .options import LoadEndianness as LoadEndianness
from .options import get_crc32_options as get_crc32_options
from .options import get_default_load_endianness as get_default_load_endianness
from .options import get_default_mmap_options as get_default_mmap_options
from .options import set_crc32_options as set_crc32_options
from .options import set_default_load_endianness as set_default_load_endianness
from .options import set_default_mmap_options as set_default_mmap_options
from .places import default_restore_location as default_restore_location
from .places import location_tag as location_tag
from .safe_globals import _get_layout as _get_layout
from .safe_globals import add_safe_globals as add_safe_globals
from .safe_globals import clear_safe_globals as clear_safe_globals
from .safe_globals import get_safe_globals as get_safe_globals
from .safe_globals import get_unsafe_globals_in_checkpoint as get_unsafe_globals_in_checkpoint
from .safe_globals import safe_globals as safe_globals  # after this the name is the class, not the module
from .saving import DEFAULT_PROTOCOL as DEFAULT_PROTOCOL
from .saving import save as save
from .training import resume_training as resume_training
from .training import save_training as save_training
