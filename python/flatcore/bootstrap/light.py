"""The light of a night's flats: combined, without the dark, in electrons, in the frame of the calibrations."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from flatcore import _core
from flatcore.bootstrap.badpixels import LEAST_FRAMES, Level
from flatcore.bootstrap.dark import DarkReference, combined_rate, dark_reference
from flatcore.bootstrap.inputs import FlatGroup, Inputs
from flatcore.calibrate import bounds_in_adu_per_s
from flatcore.clock import Clock
from flatcore.combine import combine
from flatcore.errors import InputError
from flatcore.fitsio import FitsImage, open_image, read_pixels
from flatcore.frames import exposure_of
from flatcore.header import required
from flatcore.images import CombinedImage, Image
from flatcore.instrument import Profile
from flatcore.settings import CombineSettings
from flatcore.stability import check_frames

log = logging.getLogger("flatcore")


@dataclass
class Light:
    """A night's frames, each image of them made when it is first asked for.

    Attributes
    ----------
    profile
        The instrument.
    inputs
        The frames.
    named
        Files that are used in place of what would be made, by key.
    scratch
        Folder for uncompressed copies.
    clock
        Takes the time of every stage.
    warnings
        What was remarkable.
    """

    profile: Profile
    inputs: Inputs
    named: dict[str, tuple[Path, ...]]
    scratch: Path
    clock: Clock
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self.warnings:
            log.warning("%s", text)
            self.warnings.append(text)

    @cached_property
    def main(self) -> FlatGroup:
        """The flats that show bad pixels and lamps' levels: of both fibre channels, if there are such."""
        return self.inputs.main.get("FLAT_FLAT") or next(iter(self.inputs.main.values()))

    @cached_property
    def combined(self) -> dict[str, CombinedImage]:
        """Combined flats by lamp."""
        with self.clock.stage("combine"):
            return {lamp: self._combine(group) for lamp, group in self.inputs.main.items()}

    def _combine(self, group: FlatGroup) -> CombinedImage:
        return combine(group.frames, exposure_of(group.frames[0], self.profile), CombineSettings())

    @cached_property
    def dark(self) -> DarkReference:
        """What is subtracted from the flats."""
        with self.clock.stage("darkref"):
            shape = self.profile.detector.shape
            if "DARKREF" in self.named:
                image = read_pixels(self.opened(self.named["DARKREF"][0], shape))
                return DarkReference(shape, image if image.any() else None)
            darks, biases = self.inputs.darks, self.inputs.biases
            bias = combined_rate(biases) * np.float32(exptime_of(biases)) if biases else None
            rate = combined_rate(darks) if darks else None
            return dark_reference(shape, rate, bias, exptime_of(darks) if darks else 1.0)

    @cached_property
    def electrons(self) -> dict[str, Image]:
        """Flats by lamp, in the frame of the calibrations, without the dark [electrons]; NaN beyond the bounds."""
        combined, dark = self.combined, self.dark
        with self.clock.stage("calibrate"):
            return {lamp: self._in_electrons(one, dark) for lamp, one in combined.items()}

    def _in_electrons(self, combined: CombinedImage, dark: DarkReference) -> Image:
        exposure = combined.exposure
        without_light = None if dark.is_zero else dark.image(exposure.exptime_s)
        return self.kept(combined.image, exposure.electrons_per_unit, bounds_in_adu_per_s(exposure), without_light)

    def kept(
        self, image: Image, factor: float, bounds: tuple[float, float] | None = None, dark: Image | None = None
    ) -> Image:
        """Turn and crop a raw image."""
        detector = self.profile.detector
        flip_y, flip_x = detector.flip in ("y", "both"), detector.flip in ("x", "both")
        return _core.to_electrons(image, bounds, dark, flip_y, flip_x, factor, detector.rows, detector.columns, None)

    @cached_property
    def scatter(self) -> Image | None:
        """Median distance of the main flats from their combination [electrons]; None of fewer than three."""
        frames = self.main.frames
        if len(frames) < LEAST_FRAMES:
            self.warn(f"{len(frames)} flats: unstable pixels are not told, and cosmic rays count as bad pixels")
            return None
        combined = self.combined[self.main.dprtype]
        levels = [check.level for check in check_frames(frames, combined, self.profile.qc.max_frame_change)]
        factors = [1 / level if np.isfinite(level) and level > 0 else 1.0 for level in levels]
        try:
            distance = _core.median_distance([f.location.source() for f in frames], factors, combined.image)
        except OSError as error:
            raise InputError(str(error)) from error
        return self.kept(distance, combined.exposure.electrons_per_unit)

    @cached_property
    def other_levels(self) -> tuple[Level, ...]:
        """Flats of other exposure times or levels."""
        levels = []
        for group in self.inputs.levels:
            if group.dprtype != self.main.dprtype:
                continue
            if len(group.frames) < LEAST_FRAMES:
                names = ", ".join(frame.path.name for frame in group.frames)
                self.warn(f"{names}: fewer than {LEAST_FRAMES} flats of one level do not tell non-linear pixels")
                continue
            combined = self._combine(group)
            image = self._in_electrons(combined, self.dark)
            levels.append(Level(image, combined.photon_variance, combined.exposure.readnoise_e))
        return tuple(levels)

    def opened(self, path: Path, shape: tuple[int, ...]) -> FitsImage:
        """Open a calibration file of a shape.

        Raises
        ------
        InputError
            It has another, or cannot be read.
        """
        image = open_image(path, self.scratch)
        if image.location.shape != shape:
            raise InputError(
                f"{path}: NAXIS2 x NAXIS1 = {image.location.shape[0]} x {image.location.shape[1]}, "
                f"expected {shape[0]} x {shape[1]} for {self.profile.name}"
            )
        return image


def exptime_of(frames: tuple[FitsImage, ...]) -> float:
    """EXPTIME that frames agree in [s].

    Raises
    ------
    InputError
        They do not.
    """
    values = [required(frame.header, "EXPTIME", frame.path) for frame in frames]
    for frame, value in zip(frames, values, strict=True):
        if value != values[0]:
            raise InputError(
                f"{frame.path}: EXPTIME = {value!r}, but {frames[0].path.name} has {values[0]!r}; frames must agree"
            )
    return float(values[0])
