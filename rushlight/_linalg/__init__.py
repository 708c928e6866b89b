"""The parts of linalg: einsum, norms, factorisations and solvers."""
