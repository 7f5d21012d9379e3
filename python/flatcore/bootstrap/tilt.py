"""SHAPEX: the shifts of columns that make the lines of a comb or arc upright, measured order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore import _core
from flatcore.bootstrap.settings import TiltSettings
from flatcore.bootstrap.shapes import moved_along
from flatcore.errors import InputError
from flatcore.images import Image

Array = NDArray[np.float64]

IDENTITY = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
# Rows to both sides of the middle that take part in the first rounds: a line that leans far is caught near its middle.
FIRST_REACHES = (3.0, 6.0, 12.0)
# Rounds with all rows at most, and the change of the tilt under which it stands [pixels per row].
MOST_ROUNDS, STILL = 8, 1e-5
FIT_ROUNDS = 6


@dataclass(frozen=True)
class Slit:
    """The rows of a straightened order that see the same lines [pixels].

    Attributes
    ----------
    middle
        Row about which its lines lean.
    first, last
        Its rows.
    """

    middle: float
    first: int
    last: int


@dataclass(frozen=True)
class TiltMap:
    """SHAPEX.

    Attributes
    ----------
    dxmap
        Rows by columns [pixels], float32: the straight column x is seen at x + dxmap.
    tilts
        Of each slit at each zone's middle [columns per row].
    zones
        Number of zones that were measured.
    rms
        Scatter of the zones about the fitted tilt [columns per row].
    edge_error
        The same at the ends of the longest slit [pixels].
    """

    dxmap: Image
    tilts: Array
    zones: int
    rms: float
    edge_error: float


def measure_tilt(image: Image, dymap: Image, slits: Sequence[Slit], settings: TiltSettings) -> TiltMap:
    """Measure how lines lean in every order, and make the map that makes them upright.

    The frame is straightened with the map so far, in which a line at column x of an order's middle row m that still
    leans by e lies at x + e (y - m). Within a zone of columns each row is then the mean row T moved by that much,
    T - e (y - m) T', and e follows by least squares over all rows and lines. A polynomial in column and row through
    all zones, weighted by their errors and robust against outliers, is added to the tilt, and so on until it stands;
    rows far from the middle join when those near to it are upright.

    Parameters
    ----------
    image
        Comb or arc frame, calibrated, rows by columns, float32; NaN for no value.
    dymap
        SHAPEY for columns that stay where they are [pixels].
    slits
        Rows of each order, from low rows up.
    settings
        Zones, degrees, and what makes a zone good.

    Raises
    ------
    InputError
        Fewer zones have lines than the polynomial needs.
    """
    ny, nx = image.shape
    edges = np.linspace(0, nx, settings.zones + 1).astype(int)
    centres = 0.5 * (edges[:-1] + edges[1:] - 1)
    middles = np.array([slit.middle for slit in slits])
    longest = max(max(slit.last - slit.middle, slit.middle - slit.first) for slit in slits)
    surface = _Surface(np.zeros((1, 1)), (ny, nx))
    reaches = [reach for reach in FIRST_REACHES if reach < longest]
    for reach in [*reaches, *[longest] * MOST_ROUNDS]:
        dxmap = _map(surface, slits, (ny, nx))
        straight = _core.straighten(image, IDENTITY, dxmap, moved_along(dymap, dxmap))
        lean, error = _leans(straight, slits, edges, reach)
        good = error < settings.max_error
        wanted = (settings.degree_x + 1) * (settings.degree_y + 1)
        if good.sum() < max(settings.least_zones, wanted):
            raise InputError(
                f"the comb or arc frame has lines in {good.sum()} of {good.size} zones of {len(slits)} orders, "
                f"expected at least {max(settings.least_zones, wanted)} to tell their tilt"
            )
        before = surface.at(middles, centres)
        surface = _fit(before + lean, error, good, middles, centres, (ny, nx), settings)
        if reach == longest and np.abs(surface.at(middles, centres) - before).max() < STILL:
            break
    tilts = surface.at(middles, centres)
    off = (before + lean - tilts)[good]
    rms = float(1.4826 * np.median(np.abs(off)))
    return TiltMap(_map(surface, slits, (ny, nx)), tilts, int(good.sum()), rms, rms * longest)


@dataclass(frozen=True)
class _Surface:
    """A tilt that varies as Chebyshev polynomials in row and column."""

    coefficients: Array
    shape: tuple[int, int]

    def at(self, rows: Array, columns: Array) -> Array:
        ny, nx = self.shape
        in_rows = chebyshev.chebvander(2 * rows / ny - 1, self.coefficients.shape[0] - 1)
        in_columns = chebyshev.chebvander(2 * columns / nx - 1, self.coefficients.shape[1] - 1)
        return np.asarray(in_rows @ self.coefficients @ in_columns.T)


def _map(surface: _Surface, slits: Sequence[Slit], shape: tuple[int, int]) -> Image:
    """SHAPEX of a tilt: every row leans about the middle of the slit nearest to it."""
    ny, nx = shape
    middles = np.array([slit.middle for slit in slits])
    rows = np.arange(ny)
    nearest = np.abs(rows[:, None] - middles).argmin(axis=1)
    tilts = surface.at(middles, np.arange(nx, dtype=float))
    return np.asarray(tilts[nearest] * (rows - middles[nearest])[:, None], np.float32)


def _leans(straight: Image, slits: Sequence[Slit], edges: NDArray[np.int_], reach: float) -> tuple[Array, Array]:
    """Give what is left of the tilt in every zone of every slit, and its error; infinite where nothing tells."""
    size = (len(slits), edges.size - 1)
    lean, error = np.zeros(size), np.full(size, np.inf)
    for i, slit in enumerate(slits):
        first = max(slit.first, int(np.ceil(slit.middle - reach)), 0)
        last = min(slit.last, int(np.floor(slit.middle + reach)), straight.shape[0] - 1)
        if last - first < 2:
            continue
        rows = straight[first : last + 1].astype(float)
        away = np.arange(first, last + 1) - slit.middle
        for j, (start, stop) in enumerate(pairwise(edges)):
            lean[i, j], error[i, j] = _lean(rows[:, start:stop], away)
    return lean, error


def _lean(rows: Array, away: Array) -> tuple[float, float]:
    """Tilt of the lines in a piece of an order [columns per row], and its error."""
    seen = np.isfinite(rows)
    # The continuum, which says nothing, goes with each row's mean.
    whole = np.where(seen, rows, 0)
    mean = whole.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    whole = np.where(seen, rows - mean[:, None], 0)
    counts = seen.sum(axis=0)
    template = whole.sum(axis=0) / np.maximum(counts, 1)
    slope = np.gradient(template)
    power = (seen * template**2).sum(axis=1)
    if not (power > 0).any():
        return 0.0, np.inf
    height = np.where(power > 0, (whole * template).sum(axis=1) / np.where(power > 0, power, 1), 0)
    # The template is where the rows' mean is, weighted as the rows are.
    centre = (height * away).sum() / height.sum() if height.sum() > 0 else 0.0
    away = away - centre
    left = np.where(seen, whole - height[:, None] * template, 0)
    drag = -(height * away)[:, None] * np.where(seen, slope, 0)
    weight = (drag**2).sum()
    if not weight > 0:
        return 0.0, np.inf
    lean = float((drag * left).sum() / weight)
    noise = ((left - lean * drag) ** 2).sum() / max(int(seen.sum()) - 2 * len(away), 1)
    return lean, float(np.sqrt(noise / weight))


def _fit(  # noqa: PLR0917 - values and where they are
    tilts: Array,
    error: Array,
    good: NDArray[np.bool_],
    middles: Array,
    centres: Array,
    shape: tuple[int, int],
    settings: TiltSettings,
) -> _Surface:
    """Fit the tilts of the good zones; those far off count less (weights of Cauchy)."""
    ny, nx = shape
    in_rows = chebyshev.chebvander(2 * middles / ny - 1, min(settings.degree_y, max(len(middles) // 2 - 1, 0)))
    in_columns = chebyshev.chebvander(2 * centres / nx - 1, settings.degree_x)
    basis = np.einsum("ri,cj->rcij", in_rows, in_columns)[good].reshape(int(good.sum()), -1)
    values = tilts[good]
    # No zone may rule alone, however bright its lines.
    scale = np.maximum(error[good], np.median(error[good]))
    weight = 1 / scale
    solution = np.zeros(basis.shape[1])
    for _ in range(FIT_ROUNDS):
        solution = np.linalg.lstsq(basis * weight[:, None], values * weight, rcond=1e-10)[0]
        off = np.abs(values - basis @ solution) / scale
        spread = max(1.4826 * float(np.median(off)), 1e-6)
        weight = 1 / (scale * np.sqrt(1 + (off / (3 * spread)) ** 2))
    return _Surface(solution.reshape(in_rows.shape[1], in_columns.shape[1]), shape)
