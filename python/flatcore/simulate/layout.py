"""Where the orders of a spectrograph lie: measured for SPIRou, regular for any other profile."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from flatcore.errors import UsageError
from flatcore.instrument import Fiber, Profile, Simulated
from flatcore.simulate.transform import Array, zero_at_middle

PAIRED = ("even", "odd", "pair-mean")
MEASURED_SHAPE = (3100, 4088)
# Counts that geometry alone does not tell; every other regular profile gets as many orders as fit.
ORDER_COUNTS = {"NIRPS_HA": 75, "NIRPS_HE": 75}
# Between the strips of light of two localisations: room enough that neither reaches into the other's window.
LEAST_GAP_PIXELS = 4.0
LEAST_SEPARATION_PIXELS = 18.0
CROWDING = 1.22
EDGE_PIXELS = 8.0
TRACE_DEGREE = 4
SLICED_SHARPNESS = 6.0
# Anything steeper than a Gaussian would be undersampled by the narrowest fibres.
BLURRED_SHARPNESS = 2.0


@dataclass(frozen=True)
class Strip:
    """The light of one fibre in one order.

    Attributes
    ----------
    localisation
        The fibre whose LOC file holds its trace.
    channel
        Which half of DPRTYPE lights it.
    order
        Number of the order, counted from the lowest row.
    member
        0 and 1 for the first and second trace of a pair (SPIRou's B and A), else 0.
    row
        Its straight row [pixels].
    width
        FWHM across the order [pixels], as coefficients of increasing powers of x.
    sharpness
        Exponent of the super-Gaussian profile; 2 is a Gaussian.
    """

    localisation: str
    channel: int
    order: int
    member: int
    row: float
    width: tuple[float, ...]
    sharpness: float


@dataclass(frozen=True)
class Layout:
    """All strips, each localisation's from low rows to high, and the curvature that its traces share.

    Attributes
    ----------
    strips
        The strips of light.
    curvature
        SHAPEY of the unwarped spectrograph [pixels]: Chebyshev coefficients as in `Transform`.
    orders
        Number of orders.
    """

    strips: tuple[Strip, ...]
    curvature: Array
    orders: int


def localisations(profile: Profile) -> dict[str, list[Fiber]]:
    """Fibres of a profile grouped by the localisation they share.

    Raises
    ------
    UsageError
        Fibres of one localisation differ in channel, or take its traces both in pairs and one by one.
    """
    groups: dict[str, list[Fiber]] = {}
    for fiber in profile.fibers.values():
        groups.setdefault(fiber.localisation, []).append(fiber)
    for name, fibers in groups.items():
        if len({fiber.channel for fiber in fibers}) > 1 or len({fiber.traces in PAIRED for fiber in fibers}) > 1:
            raise UsageError(f"simulation: the fibres localised as {name} must agree in channel and in pairing")
    return groups


def members_of(fiber: Fiber) -> tuple[int, ...]:
    """Which members of a pair a fibre sums."""
    return {"all": (0,), "even": (0,), "odd": (1,), "pair-mean": (0, 1)}[fiber.traces]


def lay_out(profile: Profile, rng: np.random.Generator) -> Layout:
    """Place the orders of a profile.

    Parameters
    ----------
    profile
        The instrument.
    rng
        Source of the small irregularities of a regular layout.

    Raises
    ------
    UsageError
        The detector is too small for a single order of the profile.
    """
    groups = localisations(profile)
    paired = {name: fibers[0].traces in PAIRED for name, fibers in groups.items()}
    if profile.detector.kept_shape == MEASURED_SHAPE and paired == {"AB": True, "C": False}:
        return _measured(groups)
    return _regular(profile, groups, paired, rng)


def _measured(groups: dict[str, list[Fiber]]) -> Layout:
    """SPIRou's traces.

    ``spirou_traces.npz`` holds centre and FWHM polynomials measured on the instrument, from the headers of the data
    packaged with APERO (MIT licence). Its traces are kept to about 0.2 pixel rms: SHAPEY is one smooth surface through
    all of them. Its widths are hardly less than the extraction windows, so they are taken for those of the whole lit
    strip: the profile, flat-topped as that of a sliced pupil, falls to a tenth of its top at half of them.
    """
    packed = resources.files("flatcore.simulate").joinpath("spirou_traces.npz").read_bytes()
    with np.load(io.BytesIO(packed)) as data:
        centres = {"AB": data["centre_AB"], "C": data["centre_C"]}
        widths = {"AB": data["fwhm_AB"], "C": data["fwhm_C"]}
    ny, nx = MEASURED_SHAPE
    strips = []
    for name, fibers in groups.items():
        traces_per_order = 2 if name == "AB" else 1
        for i, (centre, width) in enumerate(zip(centres[name], widths[name], strict=True)):
            row = float(polynomial.polyval(nx // 2, centre))
            fwhm = np.log10(2) ** (1 / SLICED_SHARPNESS) * width
            order, member = divmod(i, traces_per_order)
            strips.append(Strip(name, fibers[0].channel, order, member, row, tuple(fwhm.tolist()), SLICED_SHARPNESS))
    x = np.linspace(0, nx - 1, 120)
    u = 2 * (x - nx // 2) / nx
    rows = np.array([strip.row for strip in strips])
    bent = np.array([polynomial.polyval(x, centre) for name in groups for centre in centres[name]]) - rows[:, None]
    in_y = chebyshev.chebvander(2 * rows / ny - 1, 5)
    in_x = u[:, None] * chebyshev.chebvander(u, TRACE_DEGREE - 1)
    basis = np.einsum("ti,xj->txji", in_y, in_x).reshape(bent.size, -1)
    solution = np.linalg.lstsq(basis, bent.ravel(), rcond=None)[0]
    curvature = zero_at_middle(solution.reshape(in_x.shape[1], in_y.shape[1]))
    return Layout(tuple(strips), curvature, len(centres["C"]))


def _regular(
    profile: Profile, groups: dict[str, list[Fiber]], paired: dict[str, bool], rng: np.random.Generator
) -> Layout:
    """Curved orders, as many as fit and evenly spaced where the profile says nothing else."""
    ny, nx = profile.detector.kept_shape
    asked = profile.simulate or Simulated()
    half = {name: _half_window(fibers) for name, fibers in groups.items()}
    offsets: list[tuple[str, int, float]] = []
    position = previous = 0.0
    for name in groups:
        for member in range(2 if paired[name] else 1):
            if offsets:
                touching = previous + half[name]
                apart = asked.separation or max(touching + LEAST_GAP_PIXELS, LEAST_SEPARATION_PIXELS)
                position += touching if member else apart
            offsets.append((name, member, position))
            previous = half[name]
    height = half[offsets[0][0]] + position + half[offsets[-1][0]]
    sag = min(0.02 * nx, 0.037 * ny) if asked.sag is None else asked.sag
    lowest = EDGE_PIXELS + half[offsets[0][0]]
    room = ny - 2 * EDGE_PIXELS - 1.4 * sag
    count = asked.orders or ORDER_COUNTS.get(profile.name, int(room // (CROWDING * height)))
    starts, pitch = _spaced(max(count, 1), room, asked.spread)
    if count < 1 or count * height > room or pitch < height:
        raise UsageError(
            f"simulation: the {ny} kept rows of {profile.name} do not hold {max(count, 1)} orders of {height:g} rows"
        )
    strips = []
    for order in range(count):
        start = lowest + starts[order] + rng.uniform(0, min(1.0, (pitch - height) / 2))
        for name, member, offset in offsets:
            fwhm = asked.fwhm or 0.7 * half[name] + 1.1
            channel = groups[name][0].channel
            strips.append(
                Strip(name, channel, order, member, start + offset, (fwhm,), asked.sharpness or BLURRED_SHARPNESS)
            )
    # A parabola with some slope, slightly steeper towards high rows; the first power of u is taken out and put back.
    bend = np.zeros((3, 2))
    bend[0] = [0.25 * sag, 0.02 * sag]
    bend[1] = [0.95 * sag, 0.05 * sag]
    bend[2] = [0.01 * sag, 0.0]
    return Layout(tuple(strips), zero_at_middle(bend), count)


def _spaced(count: int, room: float, spread: float) -> tuple[list[float], float]:
    """Give where orders start in the room for them, and the least distance of two [pixels].

    Parameters
    ----------
    count
        Number of orders.
    room
        Rows for all of them.
    spread
        Distance of the last two over that of the first two; in between it grows by equal factors.
    """
    if spread == 1.0:
        pitch = room / count
        return [order * pitch for order in range(count)], pitch
    heights = spread ** (np.arange(count) / max(count - 1, 1))
    heights *= room / heights.sum()
    return [0.0, *np.cumsum(heights[:-1]).tolist()], float(heights.min())


def _half_window(fibers: list[Fiber]) -> float:
    """Half-height of one strip: the widest window of a single trace, or half a pair's."""
    return max(1.0, *(max(f.below, f.above) / (2 if f.traces == "pair-mean" else 1) for f in fibers))
