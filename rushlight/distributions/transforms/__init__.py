"""Invertible functions of samples, with the log of their Jacobian determinant."""

from .base import ComposeTransform as ComposeTransform
from .base import IndependentTransform as IndependentTransform
from .base import ReshapeTransform as ReshapeTransform
from .base import Transform as Transform
from .base import _InverseTransform as _InverseTransform
from .base import identity_transform as identity_transform
from .elementwise import AbsTransform as AbsTransform
from .elementwise import AffineTransform as AffineTransform
from .elementwise import ExpTransform as ExpTransform
from .elementwise import PowerTransform as PowerTransform
from .elementwise import SigmoidTransform as SigmoidTransform
from .elementwise import SoftplusTransform as SoftplusTransform
from .elementwise import TanhTransform as TanhTransform
from .joint import CatTransform as CatTransform
from .joint import CorrCholeskyTransform as CorrCholeskyTransform
from .joint import CumulativeDistributionTransform as CumulativeDistributionTransform
from .joint import LowerCholeskyTransform as LowerCholeskyTransform
from .joint import PositiveDefiniteTransform as PositiveDefiniteTransform
from .joint import SoftmaxTransform as SoftmaxTransform
from .joint import StackTransform as StackTransform
from .joint import StickBreakingTransform as StickBreakingTransform

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform",
    "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip
