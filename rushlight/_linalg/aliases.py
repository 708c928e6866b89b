"""Names of linear algebra outside linalg: rushlight.norm, inverse, det, chain_matmul, ... and the Tensor methods."""

__all__ = []
