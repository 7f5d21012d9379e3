"""The calibrations of a night, each made when it is first asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.bootstrap.badpixels import (
    Level,
    expected_light,
    followed_light,
    response_bits,
    steady_bits,
)
from flatcore.bootstrap.dark import combined_rate
from flatcore.bootstrap.fibers import Illumination, Localisation, pair_is_lower, share_out
from flatcore.bootstrap.light import Light
from flatcore.bootstrap.orderprofile import order_profile, strips
from flatcore.bootstrap.settings import BootstrapSettings
from flatcore.bootstrap.shapes import ShapeMap, TracedOrder, moved_along, shape_from_traces
from flatcore.bootstrap.tilt import Slit, TiltMap, measure_tilt
from flatcore.bootstrap.unlit import unlit_pixels
from flatcore.calibrate import subtract_background
from flatcore.errors import InputError
from flatcore.fitsio import FitsImage, read_header, read_mask
from flatcore.images import BackgroundMaps, Image, Mask
from flatcore.localisation import read_traces
from flatcore.locate import Located, LocateSettings, Trace, locate

log = logging.getLogger("flatcore")

# Rows that the curve of an order may climb within the columns of a median before it has to be followed.
LEAST_CLIMB = 0.5


@dataclass
class Workbench:
    """All that is made of a night's light, each when it is first asked for.

    Attributes
    ----------
    light
        The night's frames.
    settings, locate_settings
        Choices.
    lamps
        Lamps, and the localisations whose traces are taken from their flats.
    arcs
        Comb or arc frames.
    fiber_order_given
        Whether the user said in which order the localisations lie.
    """

    light: Light
    settings: BootstrapSettings
    locate_settings: LocateSettings
    lamps: tuple[Illumination, ...]
    arcs: tuple[FitsImage, ...]
    fiber_order_given: bool = False

    @cached_property
    def _level(self) -> Level:
        combined = self.light.combined[self.light.main.dprtype]
        return Level(
            self.light.electrons[self.light.main.dprtype], combined.photon_variance, combined.exposure.readnoise_e
        )

    @cached_property
    def _light(self) -> Image:
        """What each pixel of the main flats should see, as told by its row [electrons]."""
        return expected_light(self._level.image, self.settings.badpix.half)

    @cached_property
    def _steady(self) -> Mask:
        """Pixels that are bad by themselves."""
        level, current, scatter = self._level, self.light.dark.current, self.light.scatter
        exposure = self.light.combined[self.light.main.dprtype].exposure
        with self.light.clock.stage("badpix"):
            return steady_bits(
                level,
                self._light,
                self.settings.badpix,
                dark=None if current is None else self.light.kept(current, 1.0),
                exposure_e=exposure.electrons_per_unit,
                scatter=scatter,
            )

    @cached_property
    def level_bad(self) -> Mask:
        """Bad pixels as told by their rows; where orders are steep, only good enough to trace them."""
        if "BADPIX" in self.light.named:
            return read_mask(self.light.opened(self.light.named["BADPIX"][0], self.light.profile.detector.kept_shape))
        steady, settings = self._steady, self.settings.badpix
        with self.light.clock.stage("badpix"):
            others = [(other, expected_light(other.image, settings.half)) for other in self.light.other_levels]
            return steady | response_bits(self._level, self._light, settings, others)

    @cached_property
    def bad(self) -> Mask:
        """Bits of bad pixels."""
        first, settings = self.level_bad, self.settings.badpix
        if "BADPIX" in self.light.named or self.shape.steepest * settings.half < LEAST_CLIMB:
            return first
        dymap = self.shape.dymap
        with self.light.clock.stage("badpix"):
            level = self._level
            light = followed_light(level.image, level, settings, self._light, dymap)
            others = []
            for other in self.light.other_levels:
                along_row = expected_light(other.image, settings.half)
                others.append((other, followed_light(other.image, other, settings, along_row, dymap)))
            return self._steady | response_bits(level, light, settings, others)

    @cached_property
    def _first(self) -> tuple[Mask, dict[str, BackgroundMaps]]:
        """Unlit pixels, and the flats' background, as far as they are known before the traces."""
        return self._background(self.level_bad, None)

    @cached_property
    def _last(self) -> tuple[Mask, dict[str, BackgroundMaps]]:
        climbs = self.shape.steepest * self.light.profile.background.box >= LEAST_CLIMB
        follow = self.settings.unlit.follow and climbs
        if not follow and self.bad is self.level_bad:
            return self._first
        return self._background(self.bad, self.shape.dymap if follow else None)

    def _background(self, bad: Mask, dymap: Image | None) -> tuple[Mask, dict[str, BackgroundMaps]]:
        flats = {lamp: _without(image, bad) for lamp, image in self.light.electrons.items()}
        whole = flats.get("FLAT_FLAT")
        if whole is None:
            # A pixel is unlit where it gets light from none of the lamps.
            first, *more = flats.values()
            whole = np.sum([first, *more], axis=0, dtype=np.float32) if more else first
        background = self.light.profile.background
        with self.light.clock.stage("unlit"):
            unlit = unlit_pixels(whole, background.box, self.settings.unlit, dymap)
        with self.light.clock.stage("background"):
            return unlit, {lamp: subtract_background(image, unlit, background) for lamp, image in flats.items()}

    @property
    def unlit(self) -> Mask:
        """1 where a pixel gets no light."""
        return self._last[0]

    @property
    def flats(self) -> dict[str, Image]:
        """Flats by lamp, without their background [electrons]; NaN where a pixel is bad."""
        return {lamp: maps.corrected for lamp, maps in self._last[1].items()}

    @cached_property
    def located(self) -> dict[str, Located]:
        """What tracing found, by lamp."""
        flats = {lamp: maps.corrected for lamp, maps in self._first[1].items()}
        found = {}
        with self.light.clock.stage("locate"):
            for lamp in self.lamps:
                settings = self._settings_for(lamp)
                first = self.light.inputs.main[lamp.dprtype].frames[0].path
                try:
                    found[lamp.dprtype] = locate(flats[lamp.dprtype], settings)
                except ValueError as error:
                    raise InputError(f"{first} and those like it: {error}") from error
                if not found[lamp.dprtype].traces:
                    raise InputError(f"{first} and those like it: no order was found")
        return found

    def _settings_for(self, lamp: Illumination) -> LocateSettings:
        return replace(self.locate_settings, fibers=lamp.members)

    @cached_property
    def found(self) -> dict[str, list[Trace]]:
        """Traces by localisation, as tracing found them; those whose middle lies off the detector are left out."""
        ny, nx = self.light.profile.detector.kept_shape
        found: dict[str, list[Trace]] = {}
        for lamp in self.lamps:
            first = self.light.inputs.main[lamp.dprtype].frames[0].path
            ordered = self._in_order(lamp)
            for name, traces in share_out(self.located[lamp.dprtype], ordered).items():
                is_inside = [0 <= _row_at(trace.coefficients, nx // 2, nx) <= ny - 1 for trace in traces]
                inside = [trace for trace, holds in zip(traces, is_inside, strict=True) if holds]
                if len(inside) < len(traces):
                    orders = ", ".join(str(t.order) for t, holds in zip(traces, is_inside, strict=True) if not holds)
                    self.light.warn(f"fibre {name}: order {orders} crosses the middle off the detector: left out")
                if not inside:
                    raise InputError(f"{first} and those like it: no order of fibre {name} was found")
                found[name] = inside
        return found

    def _in_order(self, lamp: Illumination) -> Illumination:
        """Put the localisations of a lamp into their order from low rows up, as far as the light tells."""
        own = lamp.localisations
        if len(own) == 1 or self.fiber_order_given:
            return lamp
        is_lower = None
        if sorted(one.members for one in own) == [1, 2]:
            is_lower = pair_is_lower(self.located[lamp.dprtype], self._first[1][lamp.dprtype].corrected)
        if is_lower is not None:
            return Illumination(lamp.dprtype, tuple(sorted(own, key=lambda one: (one.members == 1) == is_lower)))
        names = ", ".join(one.name for one in own)
        self.light.warn(
            f"{lamp.dprtype} flats light {names} together: they are taken to lie in this order from low rows up; "
            "--fiber-order says otherwise"
        )
        return lamp

    @cached_property
    def coefficients(self) -> dict[str, NDArray[np.float64]]:
        """Chebyshev coefficients of the traces, by localisation."""
        if "LOC" in self.light.named:
            return self._named_traces()
        return {name: np.array([trace.coefficients for trace in traces]) for name, traces in self.found.items()}

    def _named_traces(self) -> dict[str, NDArray[np.float64]]:
        names = [one.name for one in self.localisations]
        traces = {}
        for path in self.light.named["LOC"]:
            header = read_header(path)
            own = str(header.get("FIBER", "")).strip() or names[0]
            traces[own] = read_traces(header, path)
        missing = [name for name in names if name not in traces]
        if missing:
            raise InputError(
                f"--locofile: no file of fibre {', '.join(missing)}; name one for each of {', '.join(names)}"
            )
        return {name: traces[name] for name in names}

    @property
    def localisations(self) -> tuple[Localisation, ...]:
        """Localisations that get light."""
        return tuple(one for lamp in self.lamps for one in lamp.localisations)

    @cached_property
    def _level_shape(self) -> ShapeMap:
        """SHAPEY for columns that stay where they are."""
        shape = self.light.profile.detector.kept_shape
        if "LOC" in self.light.named:
            everywhere = [c for own in self.coefficients.values() for c in own]
            orders = [TracedOrder(c, 0, shape[1] - 1) for c in everywhere]
        else:
            orders = [TracedOrder(t.coefficients, t.first, t.last) for own in self.found.values() for t in own]
        with self.light.clock.stage("shape"):
            return shape_from_traces(orders, shape, self.settings.shape)

    @cached_property
    def shape(self) -> ShapeMap:
        """SHAPEY for columns that stay where they are."""
        found = self._level_shape
        if found.left_out:
            self.light.warn(f"{len(found.left_out)} traces lie far from the others' curve and do not count in SHAPEY")
        return found

    @cached_property
    def tilt(self) -> TiltMap | None:
        """SHAPEX; None without comb or arc frames."""
        if not self.arcs:
            return None
        image = self.light.kept(combined_rate(self.arcs), 1.0, None, self.light.dark.current)
        image = np.where(self.bad != 0, np.float32(np.nan), image)
        with self.light.clock.stage("tilt"):
            return measure_tilt(image, self.shape.dymap, self.slits, self.settings.tilt)

    @cached_property
    def slits(self) -> list[Slit]:
        """Rows of every straight order of every localisation, from low rows up."""
        columns = self.light.profile.detector.kept_shape[1]
        slits = []
        for one in self.localisations:
            rows = np.array([_row_at(own, columns // 2, columns) for own in self.coefficients[one.name]])
            for own in rows.reshape(-1, one.members):
                first, last = int(np.ceil(own.min() - one.below)), int(np.floor(own.max() + one.above))
                slits.append(Slit(float(own.mean()), first, last))
        return sorted(slits, key=lambda slit: slit.middle)

    @cached_property
    def dymap(self) -> Image:
        """SHAPEY [pixels]."""
        tilt = self.tilt
        return self.shape.dymap if tilt is None else moved_along(self.shape.dymap, tilt.dxmap)

    @cached_property
    def dxmap(self) -> Image:
        """SHAPEX [pixels]."""
        tilt = self.tilt
        return np.zeros(self.light.profile.detector.kept_shape, np.float32) if tilt is None else tilt.dxmap

    @cached_property
    def profiles(self) -> dict[str, Image]:
        """Order profiles by localisation, in the frame of the calibrations [electrons]."""
        flats, traces, dymap = self.flats, self.coefficients, self.shape.dymap
        reach = self.settings.orderprofile.reach
        made = {}
        with self.light.clock.stage("orderprofile"):
            for lamp in self.lamps:
                for one in lamp.localisations:
                    others = [traces[other.name] for other in lamp.localisations if other is not one]
                    foreign = np.concatenate(others) if others else np.empty((0, 1))
                    wanted = strips(traces[one.name], foreign, one.below + reach, one.above + reach, dymap.shape)
                    made[one.name] = order_profile(flats[lamp.dprtype], wanted, dymap, self.settings.orderprofile)
        return made


def _without(image: Image, bad: Mask) -> Image:
    """Give an image in which bad pixels are NaN."""
    return np.where(bad != 0, np.float32(np.nan), image)


def _row_at(coefficients: NDArray[np.float64], column: int, columns: int) -> float:
    """Row of a trace at a column [pixels]."""
    return float(chebyshev.chebval(2 * column / columns - 1, coefficients))
