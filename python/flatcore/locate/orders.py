"""Order tracing from an image alone, from the search to the numbered traces."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.locate.choosing import acceptable, peak_snr
from flatcore.locate.extent import lit_columns, measure_extent, width_polynomial, widths_along
from flatcore.locate.fibers import assign
from flatcore.locate.finding import find_candidates
from flatcore.locate.flow import find_field
from flatcore.locate.results import Located, Trace
from flatcore.locate.rounds import Followed, follow, scaled_columns
from flatcore.locate.settings import LocateSettings
from flatcore.locate.strips import bad_columns, make_strips, normalised

Array = NDArray[np.float64]

# Times strips are followed anew after some were dropped.
ROUNDS = 4


def locate(
    image: NDArray[np.float32],
    settings: LocateSettings | None = None,
    *,
    bad: NDArray[np.bool_] | None = None,
) -> Located:
    """Find and trace the orders of an image without being told where they are.

    Parameters
    ----------
    image
        Rows by columns, any unit, float32; NaN for no value. Orders run roughly along the rows. The noise is measured
        on the image itself, so neither gain nor read noise is asked for.
    settings
        Choices; the defaults suit most instruments.
    bad
        True where a pixel is bad; rows by columns.

    Returns
    -------
    Located
        The traces, numbered from low rows up; none where nothing stands out.

    Raises
    ------
    ValueError
        The image is not two-dimensional, too small, or the bad pixels have another shape.
    """
    settings = settings or LocateSettings()
    pixels = _prepared(image, bad)
    shape = pixels.shape
    strips = make_strips(pixels)
    field = find_field(strips, normalised(strips), shape, settings.max_slope)
    candidates = find_candidates(strips, field, settings)
    columns = np.arange(shape[1], dtype=np.float64)
    nothing = Located(shape, (), settings.fibers or 1, (), float("nan"))
    if not candidates:
        return nothing
    middle = np.array([one.row for one in candidates])
    widths = np.array([max(one.width, 2.0) for one in candidates])
    rows = field.rows(middle, columns)
    fitted = chebyshev.chebfit(scaled_columns(columns, shape), rows.T, settings.degree)
    coefficients = np.asarray(fitted.T, dtype=np.float64)
    followed = follow(pixels, strips.noise, coefficients, widths, settings, coarse=True)
    kept = acceptable(followed, settings, shape)
    for _ in range(ROUNDS):
        if not kept.any():
            return nothing
        # Strips beside one that was dropped have more room to be seen in.
        followed = follow(
            pixels, strips.noise, followed.coefficients[kept], followed.widths[kept], settings, coarse=False
        )
        kept = acceptable(followed, settings, shape)
        if kept.all():
            break
    if not kept.any():
        return nothing
    followed = followed.only(kept)
    return _numbered(followed, settings, shape)


def _prepared(image: NDArray[np.float32], bad: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Give the image with NaN in bad pixels and bad columns."""
    if image.ndim != 2 or min(image.shape) < 64:
        raise ValueError(f"image has shape {image.shape}, expected rows by columns, at least 64 of each")
    pixels = np.array(image, dtype=np.float32, order="C", copy=True)
    if bad is not None:
        if bad.shape != image.shape:
            raise ValueError(f"bad has shape {bad.shape}, expected {image.shape} as the image")
        pixels[np.asarray(bad, dtype=bool)] = np.nan
    pixels[:, bad_columns(pixels)] = np.nan
    return pixels


def _numbered(followed: Followed, settings: LocateSettings, shape: tuple[int, int]) -> Located:
    """Measure widths and windows, and number the traces by order and fibre."""
    columns = shape[1]
    profiles, points = followed.profiles, followed.points
    scaled = scaled_columns(profiles.columns, shape)
    at_middle = chebyshev.chebval(scaled_columns(np.array([columns // 2]), shape)[0], followed.coefficients.T)
    order = np.argsort(at_middle)
    lit = followed.lit
    peak = peak_snr(followed.snr, lit)
    pairing = assign(at_middle[order], settings.fibers or 1)
    traces = []
    for rank, i in enumerate(order):
        extent = measure_extent(profiles.offsets, followed.means[i], settings)
        where, widths = widths_along(profiles, points, scaled, int(i))
        typical = float(np.median(widths)) if len(widths) else extent.fwhm
        first, last, _ = lit_columns(lit[i], profiles.columns, profiles.width, columns)
        traces.append(
            Trace(
                coefficients=followed.coefficients[i],
                first=first,
                last=last,
                rms=float(followed.fits.rms[i]),
                error=float(followed.fits.error[i]),
                points=int(followed.fits.used[i].sum()),
                fwhm=typical,
                fwhm_coefficients=width_polynomial(where, widths, typical),
                lower=extent.lower,
                upper=extent.upper,
                below=_up(extent.below),
                above=_up(extent.above),
                peak_snr=float(peak[i]),
                ends=_ends(followed.coefficients[i], (first, last), extent.fwhm, profiles.width, shape),
                order=int(pairing.order[rank]),
                fiber=int(pairing.fiber[rank]),
            )
        )
    firsts = np.array([at_middle[order][pairing.order == k].mean() for k in np.unique(pairing.order)])
    spacing = float(np.median(np.diff(firsts))) if len(firsts) > 1 else float("nan")
    return Located(shape, tuple(traces), settings.fibers or 1, pairing.missing, spacing)


def _up(value: float) -> float:
    """Next half pixel."""
    return float(np.ceil(2 * value) / 2)


def _ends(
    coefficients: Array, followed: tuple[int, int], fwhm: float, width: int, shape: tuple[int, int]
) -> tuple[str, str]:
    """Say what ends a trace on the left and on the right."""
    names = []
    for column, end in zip(followed, (0, shape[1] - 1), strict=True):
        if abs(column - end) <= 2 * width:
            names.append("detector")
            continue
        step = width if end else -width
        beyond = np.array([column, column + 2 * step, end], dtype=float)
        rows = chebyshev.chebval(scaled_columns(beyond, shape), coefficients)
        off = (rows < fwhm) | (rows > shape[0] - 1 - fwhm)
        names.append("edge" if off[:2].any() else "faint")
    return names[0], names[1]
