"""The older names of rushlight.hub's downloads."""

from ..hub import load_state_dict_from_url as load_url

__all__ = ["load_url", "tqdm"]


def tqdm(iterable=None, *args, **kwargs):
    """The progress bar of the package tqdm; without that package, the iterable itself."""
    try:
        from tqdm import tqdm as bar
    except ImportError:
        return iterable
    return bar(iterable, *args, **kwargs)
