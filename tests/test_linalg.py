"""linalg: values against NumPy, identities of the factorisations, derivatives, and the errors of singular input."""

import numpy as np
import pytest

import rushlight as torch

L = torch.linalg


def matrix(*shape, dtype=torch.float64, grad=False):
    torch.manual_seed(3)
    return torch.randn(*shape, dtype=dtype).requires_grad_(grad)


def spd(a):
    return a @ a.mT + torch.eye(a.shape[-1], dtype=a.dtype)


IDENTITIES = {
    "inv": lambda a: (L.inv(a) @ a, torch.eye(3, dtype=a.dtype).expand(a.shape)),
    "solve": lambda a: (a @ L.solve(a, a.mT), a.mT),
    "solve right": lambda a: (L.solve(a, a.mT, left=False) @ a, a.mT),
    "cholesky": lambda a: (L.cholesky(spd(a)) @ L.cholesky(spd(a)).mT, spd(a)),
    "cholesky upper": lambda a: (L.cholesky(spd(a), upper=True).mT @ L.cholesky(spd(a), upper=True), spd(a)),
    "qr": lambda a: (L.qr(a)[0] @ L.qr(a).R, a),
    "svd": lambda a: (L.svd(a).U * L.svd(a).S.unsqueeze(-2) @ L.svd(a).Vh, a),
    "eigh": lambda a: (spd(a) @ L.eigh(spd(a))[1], L.eigh(spd(a))[1] * L.eigh(spd(a))[0].unsqueeze(-2)),
    "eig": lambda a: (a.to(torch.complex128) @ L.eig(a)[1], L.eig(a)[1] * L.eig(a)[0].unsqueeze(-2)),
    "pinv": lambda a: (a @ L.pinv(a) @ a, a),
    "lu": lambda a: (L.lu(a).P @ L.lu(a).L @ L.lu(a).U, a),
    "matrix_power": lambda a: (L.matrix_power(a, -2), L.inv(a) @ L.inv(a)),
    "slogdet": lambda a: (L.slogdet(a)[0] * L.slogdet(a)[1].exp(), L.det(a)),
    "matrix_exp": lambda a: (torch.matrix_exp(a) @ torch.matrix_exp(-a), torch.eye(3, dtype=a.dtype).expand(a.shape)),
    "householder": lambda a: (L.householder_product(*torch.geqrf(a)), L.qr(a).Q),
}


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)], ids=str)
@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name, shape):
    left, right = IDENTITIES[name](matrix(*shape))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")], ids=str)
def test_matrix_norm(order):
    a = matrix(3, 4)
    torch.testing.assert_close(L.norm(a, order), torch.tensor(np.linalg.norm(a.numpy(), order)))


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 3, float("inf"), -float("inf"), -1], ids=str)
def test_vector_norm(order):
    a = matrix(3, 4)
    expected = np.linalg.norm(a.numpy(), order, axis=1)
    torch.testing.assert_close(L.vector_norm(a, order, 1), torch.from_numpy(expected))


GRADIENTS = {
    "inv": L.inv,
    "det": L.det,
    "slogdet": lambda a: L.slogdet(a)[1],
    "solve": lambda a: L.solve(a, torch.ones(3, 2, dtype=a.dtype)),
    "solve vector": lambda a: L.solve(a, torch.ones(3, dtype=a.dtype)),
    "cholesky": lambda a: L.cholesky(spd(a)),
    "qr": lambda a: tuple(L.qr(a)),
    "qr tall": lambda a: tuple(L.qr(a[:, :2])),
    "eigh": lambda a: (L.eigh(spd(a))[0], L.eigh(spd(a))[1].abs()),
    "eig": lambda a: L.eig(a)[0].abs(),
    "svd": lambda a: (L.svd(a)[1], L.svd(a)[0].abs(), L.svd(a)[2].abs()),
    "svd tall": lambda a: L.svd(a[:, :2], False)[0].abs(),
    "svd wide": lambda a: L.svd(a[:2], False)[2].abs(),
    "pinv": lambda a: L.pinv(a[:, :2]),
    "norm 2": lambda a: L.norm(a, 2),
    "nuclear": lambda a: torch.norm(a, "nuc"),
    "vector 3": lambda a: L.vector_norm(a, 3, 1),
    "vector inf": lambda a: L.vector_norm(a, float("inf")),
    "matrix_exp": torch.matrix_exp,
    "cross": lambda a: torch.cross(a, a * 2 + 1, dim=1),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name):
    assert torch.autograd.gradcheck(GRADIENTS[name], (matrix(3, 3, grad=True),))


def test_gradient_of_singular_determinant():
    a = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64, requires_grad=True)
    L.det(a).backward()
    torch.testing.assert_close(a.grad, torch.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=torch.float64))


def test_zero_norm_has_zero_gradient():
    x = torch.zeros(3, requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_singular_input():
    a = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(L.LinAlgError, match="The diagonal element 2 is zero"):
        L.inv(a)
    with pytest.raises(L.LinAlgError, match="singular"):
        L.solve(a, torch.ones(2))
    with pytest.raises(L.LinAlgError, match="leading minor of order 2"):
        L.cholesky(a)
    assert L.inv_ex(a).info.item() == 2


@pytest.mark.parametrize("call", [L.inv, L.det, L.cholesky, L.eigh, L.slogdet], ids=lambda f: f.__name__)
def test_refused_input(call):
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        call(torch.ones(3))
    with pytest.raises(RuntimeError, match="square matrices"):
        call(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="floating point or complex"):
        call(torch.ones(2, 2, dtype=torch.int64))


def test_empty():
    assert L.inv(torch.empty(0, 3, 3)).shape == (0, 3, 3)
    assert L.det(torch.empty(0, 0)).item() == 1
    assert torch.empty(0).norm().item() == 0


def test_multi_dot():
    a, b, c = matrix(2, 3), matrix(3, 4), matrix(4, 5)
    torch.testing.assert_close(L.multi_dot([a, b, c]), a @ b @ c)
    torch.testing.assert_close(L.multi_dot([a[0], b, c[:, 0]]), a[0] @ b @ c[:, 0])


def test_lstsq():
    a, b = matrix(5, 3), matrix(5, 2)
    expected = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)[0]
    torch.testing.assert_close(L.lstsq(a, b).solution, torch.from_numpy(expected))


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (2, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_derivative_of_lu(shape, dtype):
    a = torch.randn(shape, dtype=dtype, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: torch.linalg.lu(x)[1:], (a,))
    assert torch.autograd.gradgradcheck(lambda x: torch.linalg.lu_factor(x)[0], (a,))


@pytest.mark.parametrize("mode", ["reduced", "complete"])
@pytest.mark.parametrize("part", [slice(2), slice(1), slice(1, 2)])
def test_derivative_of_the_qr_of_wide_matrices(mode, part):
    a = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: torch.linalg.qr(x, mode)[part], (a,))


def test_lobpcg():
    values = np.random.RandomState(0).randn(30, 30)
    a = torch.from_numpy(values @ values.T)
    for largest in (True, False):
        found, vectors = torch.lobpcg(a, 3, largest=largest, tol=1e-9)
        expected = np.linalg.eigvalsh(a.numpy())
        np.testing.assert_allclose(found.numpy(), expected[::-1][:3] if largest else expected[:3], rtol=1e-6)
        assert float((a @ vectors - vectors * found).abs().max()) < 1e-5
    assert torch.lobpcg(a.to_sparse(), 2)[0].allclose(torch.lobpcg(a, 2)[0], rtol=1e-4)
    assert torch.lobpcg(torch.stack([a, 2 * a]), 2)[1].shape == (2, 30, 2)
    with pytest.raises(ValueError, match="smaller than 3 x the number"):
        torch.lobpcg(a, 11)


def test_lobpcg_gradient():
    values = np.random.RandomState(0).randn(12, 12)
    a = torch.from_numpy(values @ values.T).requires_grad_()
    pairs = torch.lobpcg(a, 2, tol=1e-12)
    (pairs[0].sum() + pairs[1].square().cumsum(0).sum()).backward()
    got, a.grad = a.grad, None
    eigenvalues, vectors = torch.linalg.eigh((a + a.mT) / 2)
    (eigenvalues[-2:].sum() + vectors[:, -2:].square().cumsum(0).sum()).backward()
    np.testing.assert_allclose(got.numpy(), a.grad.numpy(), atol=1e-8)


def test_out_is_checked_before_it_is_written():
    a = torch.eye(3)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype int, but got float instead"):
        torch.linalg.lu_factor(a, out=(kept := torch.full((2,), 7.0), torch.empty(0)))
    assert kept.tolist() == [7, 7]
    with pytest.raises(TypeError, match="must be tuple of Tensors, not Tensor"):
        torch.linalg.lu_factor(a, out=torch.empty(0))
    with pytest.raises(RuntimeError, match=r"U\[1,1\] is zero"):
        torch.linalg.lu_factor(torch.zeros(2, 2))
