"""Settings of save and load, under the name where programs look for them."""

from types import SimpleNamespace

config = SimpleNamespace(
    save=SimpleNamespace(use_pinned_memory_for_d2h=False, storage_alignment=64),
    load=SimpleNamespace(mmap=False, endianness=None, mmap_flags=None, calculate_storage_offsets=False),
)
