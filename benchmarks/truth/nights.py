"""A simulated night and its noiseless twin, and what each way to combine and to extract makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore import calibrations, load_profile, localisation
from flatcore.blaze import fit_orders
from flatcore.caldb import CalibrationDatabase
from flatcore.calibrate import calibrate
from flatcore.clock import Clock
from flatcore.combine import combine
from flatcore.extract import OnDetector, extract
from flatcore.fitsio import read_pixels
from flatcore.flat import make_flat
from flatcore.frames import exposure_of
from flatcore.images import Image, Transform
from flatcore.instrument import Profile
from flatcore.measure_fibers import LEAST_COVERAGE
from flatcore.night import prepared
from flatcore.request import NightRequest
from flatcore.settings import BlazeSettings, CombineSettings, ExtractSettings, FlatSettings, Settings
from flatcore.simulate import SimulationOptions, detector, simulate_night
from flatcore.simulate.scene import make_scene
from flatcore.spectra import BlazeFit, FiberFlat, FiberSpectra
from flatcore.straighten import straighten

COMBINING = ("median", "mean", "clipped")
EXTRACTING = ("optimal", "horne", "direct")
FRAMES = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """What both nights of a pair share: instrument, transform, traces."""

    profile: Profile
    transform: Transform
    windows: dict[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Stage:
    """A night between straightening and extraction.

    Attributes
    ----------
    image, straight
        Before and after straightening [electrons of one frame].
    profiles, straight_profiles
        Order profiles by localisation fibre.
    readnoise_e, photon_variance
        Noise of the combined image.
    """

    image: Image
    straight: Image
    profiles: dict[str, Image]
    straight_profiles: dict[str, Image]
    readnoise_e: float
    photon_variance: float


@dataclass(frozen=True)
class Pair:
    """A night with noise and its twin, each by way of combining; the light itself, with and without pixel response."""

    geometry: Geometry
    noisy: dict[str, Stage]
    quiet: dict[str, Stage]
    lit: Stage
    even: Stage
    truth: dict[str, Array]


def simulated_pair(folder: Path, seed: int, frames: int = FRAMES, instrument: str = "SMALL") -> Pair:
    """Simulate a pair of nights in a folder, and take it to the images."""
    options = SimulationOptions(profile=load_profile(instrument), seed=seed, frames=frames)
    roots = {noise: folder / f"{seed}-{'noisy' if noise else 'quiet'}" for noise in (True, False)}
    for noise, root in roots.items():
        night = simulate_night(root, replace(options, noise=noise))
        CalibrationDatabase.open(root).add_files(night.calibrations)
    geometry, noisy = _stages(roots[True])
    _, quiet = _stages(roots[False])
    some = next(iter(quiet.values()))
    scene = make_scene(options)
    light = scene.lit_light()
    response = detector.make_pixels(options.profile.detector, options.simulated, options.bad_pixels, seed).response
    with np.load(roots[False] / "truth" / f"{options.obs_dir}.npz") as stored:
        truth = {name: stored[name] for name in stored.files}
    lit, even = (_of(image, some, geometry.transform) for image in (light * response, light))
    return Pair(geometry, noisy, quiet, lit, even, truth)


def _of(image: Image, like: Stage, transform: Transform) -> Stage:
    image = np.ascontiguousarray(image, np.float32)
    straight = straighten(image, transform)
    return Stage(image, straight, like.profiles, like.straight_profiles, like.readnoise_e, like.photon_variance)


def _stages(root: Path) -> tuple[Geometry, dict[str, Stage]]:
    with prepared(NightRequest("2020-08-31", root), Clock()) as night:
        profile, settings, frames = night.profile, night.settings, night.selected.frames
        loaded = calibrations.load(night.chosen, profile, settings, night.scratch)
        exposure = exposure_of(frames[0], profile)
        combined = {name: combine(frames, exposure, CombineSettings(method=name)) for name in COMBINING}
    transform = loaded.transform
    straight_profiles = {name: straighten(shape, transform) for name, shape in loaded.profiles.items()}
    stages = {}
    for name, image in combined.items():
        made = calibrate(
            image.image,
            exposure,
            profile.detector,
            profile.background,
            Settings().calibrate,
            unlit=loaded.unlit,
            dark=None if loaded.dark is None else read_pixels(loaded.dark),
            bad=loaded.bad,
        )
        straight = straighten(made.image, transform)
        stages[name] = Stage(
            made.image, straight, loaded.profiles, straight_profiles, made.readnoise_e, image.photon_variance
        )
    columns = profile.detector.kept_shape[1]
    windows = {}
    for name in night.lit:
        fiber = profile.fibers[name]
        traces = localisation.traces_of_fiber(loaded.traces[fiber.localisation], fiber.traces)
        moved = localisation.move_traces(traces, transform.linear, columns)
        windows[name] = localisation.order_windows(localisation.straight_rows(moved, columns), fiber)
    return Geometry(profile, transform, windows), stages


def spectra_of(stage: Stage, geometry: Geometry, fiber: str, noise: Stage, **settings: Any) -> FiberSpectra:
    """Extract a fibre; ``noise`` is the night whose noise figures count.

    Weights and rejection follow the noise figures: the twin is to be weighed as the night with noise is, so that the
    two differ by noise alone.
    """
    source = geometry.profile.fibers[fiber].localisation
    return extract(
        fiber,
        stage.straight,
        stage.straight_profiles[source],
        geometry.windows[fiber],
        geometry.profile.fibers[fiber],
        ExtractSettings(**settings),
        transform=geometry.transform,
        on_detector=OnDetector(stage.image, stage.profiles[source]),
        readnoise_e=noise.readnoise_e,
        gain=geometry.profile.detector.gain,
        photon_variance=noise.photon_variance,
    )


def fits_of(spectra: FiberSpectra, geometry: Geometry) -> tuple[BlazeFit, ...]:
    """Fit the blaze of a fibre's orders, as the recipe does."""
    lost = spectra.coverage < LEAST_COVERAGE
    return fit_orders(spectra.e2ds, geometry.profile.blaze, BlazeSettings(), errors=spectra.e2ds_error, lost=lost)


def flat_of(spectra: FiberSpectra, geometry: Geometry) -> FiberFlat:
    """Make the flat of a fibre, in default behaviour."""
    return make_flat(spectra, fits_of(spectra, geometry), FlatSettings())


def blaze_of(spectra: FiberSpectra, geometry: Geometry) -> Array:
    """Blaze of a fibre's orders."""
    return np.stack([fit.blaze for fit in fits_of(spectra, geometry)])
