"""Version facts as programs read them. The number is that of the PyTorch release whose behaviour is implemented."""

from . import __version__ as __version__

debug = False
cuda = None
hip = None
rocm = None
xpu = None
git_version = "unknown"
