"""A fibre whose blazes are those of a grating, lit by a lamp: every order by the same physics."""

import numpy as np

ORDERS, COLUMNS = 20, 1080
X = np.arange(COLUMNS, dtype=float)
FIRST = 60
NUMBERS = FIRST - np.arange(ORDERS)
NOISE_E = 5.0


def blazes(level=4e4):
    """True blazes, orders by columns [electrons].

    The argument of the sinc is pi (K / lambda - m), with K the grating's constant, and m lambda is one function of the
    column for all orders: nothing here is a polynomial of the order. The lamp is a black body of 2900 K.
    """
    d = (X - 560.0) / COLUMNS
    # m lambda / K: the dispersion, slightly curved.
    position = 1.0 + 0.0185 * d + 0.0006 * d**2
    wavelength = 76.0 * position / NUMBERS[:, None]
    theta = np.pi * NUMBERS[:, None] * (1.0 / position - 1.0)
    lamp = wavelength**-5.0 / np.expm1(14388.0 / (wavelength * 2900.0))
    found = np.sinc(theta / np.pi) ** 2 * lamp
    return level * found / found.max()


def fibre(snr=None, seed=1, level=4e4, response=0.004):
    """Orders by columns [electrons], their errors, and the true blazes.

    Parameters
    ----------
    snr
        By order, the signal to noise of a column at its brightest to which noise lowers it.
    """
    rng = np.random.default_rng(seed)
    truth = blazes(level)
    noise = np.full(ORDERS, NOISE_E)
    for order, ratio in (snr or {}).items():
        noise[order] = truth[order].max() / ratio
    variance = truth + np.square(noise)[:, None]
    flux = (
        rng.poisson(truth * rng.normal(1.0, response, truth.shape)) + rng.normal(0.0, 1.0, truth.shape) * noise[:, None]
    )
    return flux.astype(float), np.sqrt(variance), truth


def apart(found, truth):
    """Rms of found over true blaze less 1, levels divided out, where the order is bright; NaN without a blaze."""
    with np.errstate(invalid="ignore"):
        bright = np.isfinite(found) & (truth > 0.2 * np.nanmax(truth))
    if bright.sum() < 0.2 * truth.size:
        return np.nan
    ratio = found[bright] / truth[bright]
    return float(np.sqrt(np.mean(np.square(ratio / np.median(ratio) - 1.0))))
