"""Sigmoid and tanh of vectors, from one approximation of e^x - 1."""

# mypy: ignore-errors
# (Written in the subset of Python that Numba compiles; mypy does not know its types.)

import numpy as np

from charlm.recurrent.cpu.target import kernel_function
from charlm.recurrent.cpu.vectors import broadcast, clamp, exp2_of_rounded, fma


@kernel_function
def expm1(x):
    """e^x - 1 with an error of about two units in the last place, also near zero.

    x is clamped to [-87, 88] and split into n ln 2 + r with an integer n and |r| <= ln(2) / 2. Then
    e^x - 1 = 2^n (e^r - 1) + (2^n - 1), where e^r - 1 is its Taylor polynomial of degree 7, whose
    relative error is 2e-8.

    Sources:
        W. Cody, W. Waite: Software Manual for the Elementary Functions. Prentice-Hall, 1980: the
            reduction of x, with ln 2 subtracted in two parts, of which the first has few bits, so
            that its product with n is exact.
        S. Moshier: Cephes Mathematical Library, expf.c: the values of the two parts.
    """
    x = clamp(x)
    # Adding 1.5 · 2^23 to a float below 2^22 rounds it to an integer.
    rounding = broadcast(np.float32(12582912.0))
    rounded = fma(x, broadcast(np.float32(1.4426950408889634)), rounding)  # 1 / ln 2
    n = rounded - rounding
    r = fma(n, broadcast(np.float32(-0.693359375)), x)
    r = fma(n, broadcast(np.float32(2.12194440e-4)), r)
    p = broadcast(np.float32(1 / 5040))
    p = fma(p, r, broadcast(np.float32(1 / 720)))
    p = fma(p, r, broadcast(np.float32(1 / 120)))
    p = fma(p, r, broadcast(np.float32(1 / 24)))
    p = fma(p, r, broadcast(np.float32(1 / 6)))
    p = fma(p, r, broadcast(np.float32(1 / 2)))
    power = exp2_of_rounded(rounded)
    return fma(power, fma(p * r, r, r), power - broadcast(np.float32(1)))


@kernel_function
def sigmoid(x):
    """1 / (1 + e^-x), computed as 1 / (2 + expm1(-x))."""
    return broadcast(np.float32(1)) / (
        broadcast(np.float32(2)) + expm1(broadcast(np.float32(0)) - x)
    )


@kernel_function
def tanh(x):
    """(e^2x - 1) / (e^2x + 1), computed as expm1(2x) / (expm1(2x) + 2)."""
    e = expm1(x + x)
    return e / (e + broadcast(np.float32(2)))
