"""What each step of the full night starts from, as flatcore's own earlier steps give it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import OBS_DIR
from flatcore import calibrations, localisation
from flatcore.calibrate import calibrate, subtract_background
from flatcore.clock import Clock
from flatcore.combine import combine, relative_variance
from flatcore.extract import OnDetector, extract
from flatcore.fitsio import read_pixels
from flatcore.frames import exposure_of
from flatcore.images import CombinedImage, Image, Transform
from flatcore.instrument import Profile
from flatcore.night import prepared
from flatcore.request import NightRequest
from flatcore.settings import Settings
from flatcore.spectra import FiberSpectra
from flatcore.straighten import straighten

Windows = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Steps:
    """A night between its steps.

    Attributes
    ----------
    calibrations
        Contents of the calibration files.
    electrons
        The image before the background is subtracted, NaN where pixels are bad [electrons].
    corrected
        After the background, before the repair of hot pixels.
    calibrated, straight
        Before and after straightening.
    straight_profiles
        By localisation fibre.
    windows
        Rows to extract, by fibre.
    """

    profile: Profile
    settings: Settings
    calibrations: calibrations.Calibrations
    combined: CombinedImage
    electrons: Image
    corrected: Image
    calibrated: Image
    readnoise_e: float
    straight: Image
    straight_profiles: dict[str, Image]
    windows: dict[str, Windows]

    @property
    def transform(self) -> Transform:
        """SHAPEL, SHAPEX and SHAPEY."""
        return self.calibrations.transform

    def threshold(self, name: str) -> float | None:
        """Rejection limit of a fibre; none for narrow windows."""
        fiber, settings = self.profile.fibers[name], self.settings.extract
        return settings.rejection if fiber.below + fiber.above > settings.narrow_window else None

    def extracted(self, name: str) -> FiberSpectra:
        """Spectra of a fibre's orders."""
        fiber = self.profile.fibers[name]
        return extract(
            name,
            self.straight,
            self.straight_profiles[fiber.localisation],
            self.windows[name],
            fiber,
            self.settings.extract,
            transform=self.transform,
            on_detector=OnDetector(self.calibrated, self.calibrations.profiles[fiber.localisation]),
            readnoise_e=self.readnoise_e,
            gain=self.profile.detector.gain,
            photon_variance=relative_variance(self.settings.combine.method, len(self.combined.inputs)),
        )


def steps_of(root: Path) -> Steps:
    """Run a night's stages one by one, and keep what lies between them."""
    with prepared(NightRequest(OBS_DIR, root), Clock()) as night:
        profile, settings, frames = night.profile, night.settings, night.selected.frames
        loaded = calibrations.load(night.chosen, profile, settings, night.scratch)
        combined = combine(frames, exposure_of(frames[0], profile), settings.combine)

    def calibrated(**changes: bool) -> tuple[Image, float]:
        found = calibrate(
            combined.image,
            combined.exposure,
            profile.detector,
            profile.background,
            settings.calibrate.model_copy(update=changes),
            unlit=loaded.unlit,
            dark=None if loaded.dark is None else read_pixels(loaded.dark),
            bad=loaded.bad,
        )
        return found.image, found.readnoise_e

    electrons, _ = calibrated(background=False, hotpixels=False)
    maps = subtract_background(electrons, loaded.unlit, profile.background, settings.calibrate.background_passes)
    image, readnoise_e = calibrated()
    columns = image.shape[1]

    def windows(name: str) -> Windows:
        fiber = profile.fibers[name]
        traces = localisation.traces_of_fiber(loaded.traces[fiber.localisation], fiber.traces)
        moved = localisation.move_traces(traces, loaded.transform.linear, columns)
        return localisation.order_windows(localisation.straight_rows(moved, columns), fiber)

    return Steps(
        profile=profile,
        settings=settings,
        calibrations=loaded,
        combined=combined,
        electrons=electrons,
        corrected=maps.corrected,
        calibrated=image,
        readnoise_e=readnoise_e,
        straight=straighten(image, loaded.transform),
        straight_profiles={name: straighten(shape, loaded.transform) for name, shape in loaded.profiles.items()},
        windows={name: windows(name) for name in night.lit},
    )
