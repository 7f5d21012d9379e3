"""Order tracing from an image alone, from the search to the numbered traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.locate.extent import (
    LIT_SIGMAS,
    column_snr,
    lit_columns,
    measure_extent,
    width_polynomial,
    widths_along,
)
from flatcore.locate.fibers import assign
from flatcore.locate.finding import find_candidates
from flatcore.locate.fitting import Fits, fit_shifts, fit_traces
from flatcore.locate.flow import find_field
from flatcore.locate.following import Points, Profiles, coarse_shifts, mean_profiles, measure, straighten_strips
from flatcore.locate.results import Located, Trace
from flatcore.locate.settings import LocateSettings
from flatcore.locate.strips import Strips, bad_columns, make_strips, normalised

Array = NDArray[np.float64]

# Traces nearer to one another than this share of their width, over most of their columns, are one.
SAME = 0.5
# Strips narrower than this share of what is usual are no orders.
LEAST_WIDTH = 0.4
# Times strips are followed anew after some were dropped.
ROUNDS = 4
# Correlation of a block with its strip's profile from which on it tells a shift.
LEAST_ALIKE = 0.3


@dataclass(frozen=True)
class _Followed:
    """Strips after a round of following."""

    coefficients: Array
    widths: Array
    fits: Fits
    profiles: Profiles
    means: Array
    points: Points
    snr: Array


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
        Rows by columns, any unit, float32; NaN for no value. Orders run roughly along the rows. The noise is measured on
        the image itself, so neither gain nor read noise is asked for.
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
    coefficients = chebyshev.chebfit(_scaled(columns, shape), rows.T, settings.degree).T
    followed = _follow(pixels, strips, coefficients, widths, settings, coarse=True)
    for _ in range(ROUNDS):
        kept = _acceptable(followed, strips, settings, shape)
        if not kept.any():
            return nothing
        # Strips beside one that is dropped have more room to be seen in.
        followed = _follow(pixels, strips, followed.coefficients[kept], followed.widths[kept], settings, coarse=False)
        if kept.all():
            break
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


def _scaled(columns: Array, shape: tuple[int, int]) -> Array:
    """Columns from -1 to 1, as LOC files have them."""
    return 2 * columns / shape[1] - 1


def _block(columns: int) -> int:
    """Columns of a block along which points are measured: some 200 points a trace."""
    return int(np.clip(round(columns / 256), 6, 32))


def _follow(
    pixels: NDArray[np.float32],
    strips: Strips,
    coefficients: Array,
    widths: Array,
    settings: LocateSettings,
    *,
    coarse: bool,
) -> _Followed:
    """Follow strips from traces that are nearly right: first in whole pixels if asked, then exactly, twice."""
    shape = pixels.shape
    columns = _scaled(np.arange(shape[1], dtype=np.float64), shape)
    order = np.argsort(chebyshev.chebval(0.0, coefficients.T))
    coefficients, widths = coefficients[order], widths[order]
    for is_coarse in (True, False) if coarse else (False,):
        rows = np.atleast_2d(chebyshev.chebval(columns, coefficients.T))
        profiles = straighten_strips(pixels, rows, widths, _block(shape[1]))
        scaled = _scaled(profiles.columns, shape)
        means = mean_profiles(profiles)
        if is_coarse:
            coefficients = coefficients + _coarse(profiles, means, scaled, settings)
            continue
        at = chebyshev.chebval(scaled, coefficients.T)
        points = measure(profiles, means, strips.noise)
        extents = [measure_extent(profiles.offsets, mean, settings) for mean in means]
        centre = np.array([one.centre for one in extents])
        widths = np.array([one.fwhm if np.isfinite(one.fwhm) else old for one, old in zip(extents, widths, strict=True)])
        usable = (
            (points.height > LIT_SIGMAS * points.height_error)
            & (np.abs(points.shift) < np.maximum(0.6 * widths, 1.5)[:, None])
            & np.isfinite(centre)[:, None]
        )
        moved = np.where(usable, at + points.shift + np.nan_to_num(centre)[:, None], np.nan)
        fits = fit_traces(scaled, moved, points.error, coefficients, settings.clip)
        coefficients = fits.coefficients
    snr = column_snr(profiles, means, points, strips.noise)
    return _Followed(coefficients, widths, fits, profiles, means, points, snr)


def _coarse(profiles: Profiles, means: Array, scaled: Array, settings: LocateSettings) -> Array:
    """Corrections of traces, from whole-pixel shifts."""
    most = np.clip(np.minimum(-profiles.reach[:, 0], profiles.reach[:, 1]) * 0.8, 1, 12).astype(int)
    shifts, alike = coarse_shifts(profiles, means, most)
    # What is hardly alike is hardly known.
    errors = np.where(alike > LEAST_ALIKE, 0.5 / np.maximum(alike, LEAST_ALIKE) ** 3, np.nan)
    return fit_shifts(scaled, shifts, errors, settings.degree, settings.clip)


def _lit(followed: _Followed) -> NDArray[np.bool_]:
    """Blocks in which a strip is seen."""
    points = followed.points
    with np.errstate(invalid="ignore"):
        return np.asarray(points.height > LIT_SIGMAS * points.height_error)


def _acceptable(
    followed: _Followed, strips: Strips, settings: LocateSettings, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which strips are orders: bright enough, long enough, not too narrow, and none of them twice."""
    lit = _lit(followed)
    width = followed.profiles.width
    least = settings.min_columns or max(shape[1] // 16, 4 * width)
    long = np.array([lit_columns(one, followed.profiles.columns, width, shape[1])[2] for one in lit])
    peak = peak_snr(followed.snr, lit)
    kept = (long >= least) & (peak >= settings.min_snr) & (followed.fits.used.sum(axis=1) >= 4)
    if kept.sum() > 4:
        kept &= followed.widths > LEAST_WIDTH * np.median(followed.widths[kept])
    return kept & ~_twice(followed, kept, lit, shape)


def peak_snr(snr: Array, lit: NDArray[np.bool_]) -> Array:
    """Signal to noise per column where strips are brightest: the 90th percentile of the lit blocks."""
    return np.array([np.percentile(s[m], 90) if m.any() else 0.0 for s, m in zip(snr, lit, strict=True)])


def _twice(
    followed: _Followed, kept: NDArray[np.bool_], lit: NDArray[np.bool_], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which strips lie on another one that is seen better."""
    rows = chebyshev.chebval(_scaled(followed.profiles.columns, shape), followed.coefficients.T)
    score = np.where(lit, followed.snr, 0.0).sum(axis=1)
    twice = np.zeros(len(rows), bool)
    for i in np.flatnonzero(kept):
        # Traces are sorted: only near ones can be the same.
        for j in np.flatnonzero(kept):
            if abs(int(i) - int(j)) > 3 or i == j or twice[i] or twice[j] or (score[i], -i) > (score[j], -j):
                continue
            apart = np.median(np.abs(rows[i] - rows[j])[lit[i]])
            if apart < SAME * min(followed.widths[i], followed.widths[j]):
                twice[i] = True
    return twice


def _numbered(followed: _Followed, settings: LocateSettings, shape: tuple[int, int]) -> Located:
    """Measure widths and windows, and number the traces by order and fibre."""
    columns = shape[1]
    profiles, points = followed.profiles, followed.points
    scaled = _scaled(profiles.columns, shape)
    at_middle = chebyshev.chebval(_scaled(np.array([columns // 2]), shape)[0], followed.coefficients.T)
    order = np.argsort(at_middle)
    lit = _lit(followed)
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
                ends=_ends(followed.coefficients[i], first, last, extent.fwhm, profiles.width, shape),
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
    coefficients: Array, first: int, last: int, fwhm: float, width: int, shape: tuple[int, int]
) -> tuple[str, str]:
    """What ends a trace on the left and on the right."""
    names = []
    for column, end in ((first, 0), (last, shape[1] - 1)):
        if abs(column - end) <= 2 * width:
            names.append("detector")
            continue
        step = width if end else -width
        beyond = np.array([column, column + 2 * step, end], dtype=float)
        rows = chebyshev.chebval(_scaled(beyond, shape), coefficients)
        off = (rows < fwhm) | (rows > shape[0] - 1 - fwhm)
        names.append("edge" if off[:2].any() else "faint")
    return names[0], names[1]
