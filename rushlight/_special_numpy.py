"""Special functions on NumPy arrays in double precision: incomplete gamma and beta functions, Hurwitz zeta, and the
derivatives of the first two by their parameters. No tensors here: special.py and distributions wrap them.
"""

import math

import numpy as np

_lgamma = np.vectorize(math.lgamma, otypes=["float64"])
_STEPS = (
    20_000  # more than any argument below 1e7 needs; larger ones come out less accurate, never wrong by much
)


def lgamma(x):
    """log |gamma(x)|; infinite at the poles."""
    x = np.asarray(x, dtype="float64")
    pole = (x <= 0) & (x == np.floor(x))
    return np.where(pole | np.isinf(x), np.inf, _lgamma(np.where(pole | ~np.isfinite(x), 1.0, x)))


def _gamma_series(a, x):
    """Lower function over its leading factor, for x < a + 1: the sum of x**n / (a (a+1) ... (a+n))."""
    term = total = 1 / a
    n = a
    for _ in range(_STEPS):
        n = n + 1
        term = term * x / n
        total = total + term
        if (np.abs(term) <= 1e-16 * np.abs(total)).all():
            break
    return total


def _gamma_fraction(a, x):
    """Upper function over its leading factor, for x >= a + 1, by the continued fraction in Lentz's form."""
    b = x + 1 - a
    c = np.full_like(b, 1e300)
    d = 1 / b
    total = d
    for i in range(1, _STEPS):
        factor = -i * (i - a)
        b = b + 2
        d = factor * d + b
        d = 1 / np.where(np.abs(d) < 1e-300, 1e-300, d)
        c = b + factor / c
        c = np.where(np.abs(c) < 1e-300, 1e-300, c)
        step = c * d
        total = total * step
        if (np.abs(step - 1) <= 4e-16).all():
            break
    return total


def gammainc_both(a, x):
    """The regularised incomplete gamma functions: lower and upper."""
    a, x = np.broadcast_arrays(np.asarray(a, "float64"), np.asarray(x, "float64"))
    valid = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    series, fraction = valid & (x < a + 1), valid & (x >= a + 1)
    lower = np.full(a.shape, np.nan)
    upper = np.full(a.shape, np.nan)
    with np.errstate(all="ignore"):
        for chosen, function, here, there in (
            (series, _gamma_series, lower, upper),
            (fraction, _gamma_fraction, upper, lower),
        ):
            if chosen.any():
                p, q = a[chosen], x[chosen]
                here[chosen] = np.exp(p * np.log(q) - q - lgamma(p)) * function(p, q)
                there[chosen] = 1 - here[chosen]
    for low, where in ((0.0, (a > 0) & (x == 0)), (1.0, (a == 0) & (x > 0)), (1.0, (a >= 0) & np.isfinite(a) & np.isposinf(x)),
                       (0.0, np.isposinf(a) & (x >= 0) & np.isfinite(x))):  # fmt: skip
        lower[where], upper[where] = low, 1 - low
    return lower, upper


def gammainc_by_a(a, x):
    """Derivative of the lower regularised incomplete gamma function by a, by a central difference of fourth order."""
    a, x = np.broadcast_arrays(np.asarray(a, "float64"), np.asarray(x, "float64"))
    h = 2e-3 * np.minimum(a, 1 + np.sqrt(a))
    # the smaller of the two functions has the accurate digits
    lower = np.asarray(x < a + 1)

    def value(b):
        low, up = gammainc_both(b, x)
        return np.where(lower, low, -up)

    return (8 * (value(a + h) - value(a - h)) - (value(a + 2 * h) - value(a - 2 * h))) / (12 * h)


def _beta_fraction(a, b, x):
    """Continued fraction of the incomplete beta function, for x < (a + 1) / (a + b + 2)."""
    tiny = 1e-300
    c = np.ones_like(x)
    d = 1 - (a + b) * x / (a + 1)
    d = 1 / np.where(np.abs(d) < tiny, tiny, d)
    total = d
    for m in range(1, _STEPS):
        for factor in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                       -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            d = 1 + factor * d
            d = 1 / np.where(np.abs(d) < tiny, tiny, d)
            c = 1 + factor / c
            c = np.where(np.abs(c) < tiny, tiny, c)
            total = total * (c * d)
        if (np.abs(c * d - 1) <= 4e-16).all():
            break
    return total


def betainc(a, b, x):
    """The regularised incomplete beta function, for 0 < x < 1."""
    a, b, x = np.broadcast_arrays(*(np.asarray(v, "float64") for v in (a, b, x)))
    swapped = x > (a + 1) / (a + b + 2)
    p, q, y = np.where(swapped, b, a), np.where(swapped, a, b), np.where(swapped, 1 - x, x)
    with np.errstate(all="ignore"):
        front = np.exp(p * np.log(y) + q * np.log1p(-y) + lgamma(p + q) - lgamma(p) - lgamma(q)) / p
        value = front * _beta_fraction(p, q, y)
    return np.where(swapped, 1 - value, value)


def betainc_by_a(a, b, x):
    """Derivative of the regularised incomplete beta function by a, by a central difference of fourth order."""
    h = 2e-3 * np.minimum(a, 1 + np.sqrt(a))
    near, far = (betainc(a + k * h, b, x) - betainc(a - k * h, b, x) for k in (1, 2))
    return (8 * near - far) / (12 * h)


# B(2k) / (2k)! of the Euler-Maclaurin formula
_BERNOULLI = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
              -3617 / 10670622842880000, 43867 / 5109094217170944000]  # fmt: skip


def zeta(s, q):
    """Hurwitz zeta function: the sum of (q + n)**-s for s > 1."""
    s, q = np.broadcast_arrays(np.asarray(s, "float64"), np.asarray(q, "float64"))
    terms = 12
    with np.errstate(all="ignore"):
        total = sum((q + n) ** -s for n in range(terms))
        w = q + terms
        while (w <= terms).any():  # negative q: add until the tail starts right of the poles
            low = w <= terms
            total = total + np.where(low, np.where(low, w, 1.0) ** -s, 0)
            w = w + low
        total = total + w ** (1 - s) / (s - 1) + 0.5 * w**-s
        factor, power = s, w ** (-s - 1)
        for k, b in enumerate(_BERNOULLI):
            total = total + b * factor * power
            factor = factor * (s + 2 * k + 1) * (s + 2 * k + 2)
            power = power / (w * w)
    whole = q == np.floor(q)
    total = np.where(s == 1, np.inf, np.where(s < 1, np.nan, total))
    total = np.where((s > 1) & (q <= 0) & whole, np.inf, total)
    return np.where((s > 1) & (q <= 0) & ~whole & (s != np.floor(s)), np.nan, total)
