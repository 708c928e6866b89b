"""Bessel functions on NumPy arrays in double precision: integrals by the trapezoidal rule (which converges exponentially for
them) for moderate arguments, asymptotic series for large ones. No tensors here: special.py wraps them.
"""

import math
from functools import cache

import numpy as np

_EULER = 0.5772156649015329
_FAR = 30.0  # from here on the asymptotic series reach full precision


def _coefficients(order, count=24):
    """a_k of Hankel's asymptotic series: products of (4 order^2 - (2j-1)^2) / (8j)."""
    a = [1.0]
    for k in range(1, count):
        a.append(a[-1] * (4 * order * order - (2 * k - 1) ** 2) / (8 * k))
    return a


def _hankel(order, x):
    """J and Y for large x."""
    a = _coefficients(order)
    p = sum((-1) ** (k // 2) * a[k] / x**k for k in range(0, 24, 2))
    q = sum((-1) ** (k // 2) * a[k] / x**k for k in range(1, 24, 2))
    # cos(x - phase) from cos x and sin x: the subtraction would lose digits of a large x
    c, s = np.cos(x), np.sin(x)
    cos, sin = ((c + s), (s - c)) if order == 0 else ((s - c), -(s + c))
    scale = 1 / np.sqrt(np.pi * x)
    return scale * (p * cos - q * sin), scale * (p * sin + q * cos)


def _j_near(orders, x, points=96):
    """J of several orders for |x| < _FAR: the mean of cos(n t - x sin t) over t."""
    t = (np.arange(points) + 0.5) * (np.pi / points)
    return [np.cos(n * t - x[..., None] * np.sin(t)).mean(-1) for n in orders]


def _j1_near(x, points=96):
    """J of order 1 integrated by parts: keeps its digits near 0."""
    t = (np.arange(points) + 0.5) * (np.pi / points)
    return x * (np.cos(x[..., None] * np.sin(t)) * np.cos(t) ** 2).mean(-1)


def _split(x, near, far):
    """near(x) for |x| < _FAR, far(x) beyond; nan stays nan."""
    x = np.asarray(x, dtype="float64")
    out = np.full(x.shape, np.nan)
    close, distant = np.abs(x) < _FAR, np.abs(x) >= _FAR
    with np.errstate(all="ignore"):
        out[close] = near(x[close])
        out[distant] = far(x[distant])
    return out


def _far_j(order):
    def far(x):
        value = np.where(np.isinf(x), 0.0, _hankel(order, np.abs(x))[0])
        return np.where(x < 0, -value, value) if order else value

    return far


def j0(x):
    return _split(x, lambda x: _j_near([0], x)[0], _far_j(0))


def j1(x):
    return _split(x, _j1_near, _far_j(1))


def _y_near(x, order):
    """Neumann's series of Y0 in Bessel functions J, and minus its derivative for Y1."""
    j = _j_near(range(64), x)
    log = np.log(x / 2) + _EULER
    if order == 0:
        tail = sum((-1) ** k * j[2 * k] / k for k in range(1, 31))
        value = 2 / np.pi * log * j[0] - 4 / np.pi * tail
    else:
        tail = sum((-1) ** k * (j[2 * k - 1] - j[2 * k + 1]) / k for k in range(1, 31))
        value = 2 / np.pi * (log * j[1] - j[0] / x + tail)
    return np.where(x == 0, -np.inf, np.where(x < 0, np.nan, value))


def _far_y(order):
    return lambda x: np.where(x < 0, np.nan, np.where(np.isinf(x), 0.0, _hankel(order, np.abs(x))[1]))


def y0(x):
    return _split(x, lambda x: _y_near(x, 0), _far_y(0))


def y1(x):
    return _split(x, lambda x: _y_near(x, 1), _far_y(1))


def _scaled_i_near(order, x, points=128):
    """exp(-|x|) I: the mean over t of exp(x cos t - |x|), for order 1 times x sin(t)**2."""
    t = (np.arange(points) + 0.5) * (np.pi / points)
    factor = x[..., None] * np.sin(t) ** 2 if order else 1.0
    return (np.exp(x[..., None] * np.cos(t) - np.abs(x)[..., None]) * factor).mean(-1)


def _scaled_i_far(order, x):
    a, y = _coefficients(order), np.abs(x)
    value = sum((-1) ** k * a[k] / y**k for k in range(24)) / np.sqrt(2 * np.pi * y)
    value = np.where(np.isinf(x), 0.0, value)
    return np.where(x < 0, -value, value) if order else value


def i0e(x):
    return _split(x, lambda x: _scaled_i_near(0, x), lambda x: _scaled_i_far(0, x))


def i1e(x):
    return _split(x, lambda x: _scaled_i_near(1, x), lambda x: _scaled_i_far(1, x))


def _unscaled(function):
    def value(x):
        with np.errstate(all="ignore"):
            half = np.exp(np.abs(x) / 2)  # twice, so that it does not overflow before the product does
            return np.where(np.isinf(x), x if function is i1e else np.inf, function(x) * half * half)

    return value


i0, i1 = _unscaled(i0e), _unscaled(i1e)


def _scaled_k_near(order, x):
    """exp(x) K: the integral of exp(-x (cosh t - 1)) cosh(order t), which has died out where x (cosh t - 1) > 40."""
    safe = np.where(x > 0, x, 1.0)
    end = np.arccosh(1 + 45 / safe)
    t = np.linspace(0, 1, 513) * end[..., None]
    weights = np.full(513, 1.0)
    weights[0] = 0.5
    # cosh t - 1 without cancellation; order and decay in one exponent, so that no factor overflows
    decay = safe[..., None] * 2 * np.sinh(t / 2) ** 2
    value = np.exp(-decay) * (np.cosh(t) if order else 1.0)
    return np.where(x == 0, np.inf, np.where(x < 0, np.nan, (value * weights).sum(-1) * end / 512))


def _scaled_k_far(order, x):
    a, y = _coefficients(order), np.abs(x)
    value = sum(a[k] / y**k for k in range(24)) * np.sqrt(np.pi / (2 * y))
    return np.where(x < 0, np.nan, np.where(np.isinf(x), 0.0, value))


def k0e(x):
    return _split(x, lambda x: _scaled_k_near(0, x), lambda x: _scaled_k_far(0, x))


def k1e(x):
    return _split(x, lambda x: _scaled_k_near(1, x), lambda x: _scaled_k_far(1, x))


def k0(x):
    return k0e(x) * np.exp(-np.maximum(x, 0))


def k1(x):
    return k1e(x) * np.exp(-np.maximum(x, 0))


def spherical_j0(x):
    """sin(x) / x; 1 at 0, 0 at infinity."""
    x = np.asarray(x, dtype="float64")
    with np.errstate(all="ignore"):
        return np.where(x == 0, 1.0, np.where(np.isinf(x), 0.0, np.sin(x) / np.where(x == 0, 1.0, x)))


# ---- Airy


@cache
def _laguerre(power, count=40):
    """Nodes and weights of Gauss quadrature for t**power * exp(-t), by Golub and Welsch (Math. Comp. 23, 1969)."""
    k = np.arange(count)
    matrix = np.diag(2 * k + power + 1.0) + np.diag(np.sqrt(k[1:] * (k[1:] + power)), 1)
    nodes, vectors = np.linalg.eigh(matrix + np.triu(matrix, 1).T)
    return nodes, math.gamma(power + 1) * vectors[0] ** 2


def _airy_integral(z):
    """Ai for complex z away from zero and from the negative axis: Gil, Segura and Temme, ACM Trans. Math. Softw. 28 (2002)."""
    zeta = 2 / 3 * z * np.sqrt(z)
    nodes, weights = _laguerre(-1 / 6)
    mean = (weights * (2 + nodes / zeta[..., None]) ** (-1 / 6)).sum(-1)
    return np.exp(-zeta) * zeta ** (-1 / 6) * mean / (math.sqrt(math.pi) * 48 ** (1 / 6) * math.gamma(5 / 6))


def _airy_series(x):
    """Ai near zero: its Taylor series."""
    value = np.full_like(x, 3 ** (-2 / 3) / math.gamma(2 / 3))
    slope = -(3 ** (-1 / 3)) / math.gamma(1 / 3) * x
    total = value + slope
    for k in range(1, 20):
        value, slope = value * x**3 / ((3 * k - 1) * (3 * k)), slope * x**3 / ((3 * k) * (3 * k + 1))
        total = total + value + slope
    return total


def airy_ai(x):
    """Ai(x)."""
    x = np.asarray(x, "float64")
    result = np.full(x.shape, np.nan)
    near, above, below = np.abs(x) < 1.5, (x >= 1.5) & np.isfinite(x), (x <= -1.5) & np.isfinite(x)
    result[near] = _airy_series(x[near])
    result[above] = _airy_integral(x[above] + 0j).real
    turn = np.exp(1j * np.pi / 3)  # Ai(-x) from two points beside the negative axis
    result[below] = 2 * (turn * _airy_integral(-x[below] * turn)).real
    return result
