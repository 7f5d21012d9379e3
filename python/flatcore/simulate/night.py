"""One simulated night, from its options to the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.simulate import detector, files, readout
from flatcore.simulate.options import SimulatedNight, SimulationOptions
from flatcore.simulate.scene import Scene, make_scene
from flatcore.simulate.streams import Stream, generator
from flatcore.simulate.transform import Image
from flatcore.simulate.truth import fiber_truth, straight_truth

Progress = Callable[[str, float], None]

FIRST_FRAME = 2_510_100
FIRST_DARK = 2_505_000
FIRST_CALIBRATION = 2_490_000
CALIBRATION_AGE_DAYS = 0.2
READOUT_S = 15.0
PROFILE_NOISE_SHARE = 1e-4
DARK_NOISE_ADU_PER_S = 0.001
# Darks are taken before the flats: the first ends this long before the night's first flat.
DARK_LEAD_DAYS = 0.1


def simulate_night(root: Path, options: SimulationOptions, progress: Progress | None = None) -> SimulatedNight:
    """Write a night of lamp flats, dark frames if asked for, the calibrations it needs, and the truth.

    Flats and darks go to ``tmp/<obs_dir>/``. Calibrations go to ``calib/``, named by the seed: nights of one root want
    seeds of their own. Truth goes to ``truth/<obs_dir>.npz``: ``n_flats``, ``background`` [electrons per pixel of one
    frame], ``prnu`` and ``bad`` of the kept frame, ``beyond`` (pixels outside the bounds of calibration), and for every
    lit fibre ``blaze_``, ``response_``, ``centre_``, ``row_`` and ``pars_`` followed by its name, as described in
    `flatcore.simulate.truth.FiberTruth`.

    Parameters
    ----------
    root
        Data root; made where missing.
    options
        What to simulate.
    progress
        Called with what was just done and the share of the night that is finished.

    Raises
    ------
    UsageError
        The orders do not fit on the detector, or the warp cannot be inverted.
    OutputError
        A file could not be written; nothing of it is left.
    """
    tell = progress or (lambda stage, share: None)
    scene = make_scene(options)
    tell("orders drawn", 0.15)
    pixels = detector.make_pixels(options.profile.detector, options.simulated, options.bad_pixels, options.seed)
    calibrations = _write_calibrations(root, scene, pixels)
    tell("calibrations written", 0.35)
    truth = _write_truth(root, scene, pixels)
    tell("truth written", 0.5)
    darks = _write_darks(root, scene, pixels)
    frames = _write_frames(root, scene, pixels, tell)
    return SimulatedNight(root, options.obs_dir, frames, calibrations, truth, darks)


def _write_frames(root: Path, scene: Scene, pixels: detector.Pixels, tell: Progress) -> tuple[Path, ...]:
    options, spectrograph = scene.options, scene.options.profile.detector
    seconds = options.simulated.exptime
    expected = detector.expected_electrons(scene.falling_light(), pixels, spectrograph, seconds)
    low, high = files.bounds_adu_per_s(options.profile)
    paths = []
    for i in range(options.frames):
        noise = generator(options.seed, Stream.FRAME_NOISE, i)
        frame = _exposed(expected, options, noise)
        kept = detector.kept_part(frame, spectrograph)
        cosmics = generator(options.seed, Stream.COSMICS, i)
        rows, columns, electrons = detector.cosmic_rays(kept.shape, options.cosmics, cosmics)
        np.add.at(kept, (rows, columns), electrons)
        frame /= np.float32(spectrograph.gain * seconds)
        kept[pixels.faults.beyond_high] = 1.5 * high
        kept[pixels.faults.beyond_low] = 3 * low
        header = files.frame_header(
            options.profile, options.mjd + i * ((seconds + READOUT_S) / files.DAY_S), options.lamp
        )
        path = root / "tmp" / options.obs_dir / f"{FIRST_FRAME + i}f_pp.fits"
        paths.append(readout.write_raw(path, header, frame, options, i))
        tell(f"frame {i + 1} of {options.frames} written", 0.5 + 0.5 * (i + 1) / options.frames)
    return tuple(paths)


def _write_darks(root: Path, scene: Scene, pixels: detector.Pixels) -> tuple[Path, ...]:
    """Write dark frames, taken before the flats."""
    options, spectrograph = scene.options, scene.options.profile.detector
    seconds = options.simulated.exptime if options.dark_exptime_s is None else options.dark_exptime_s
    expected = detector.expected_electrons(None, pixels, spectrograph, seconds)
    paths = []
    for i in range(options.darks):
        frame = _exposed(expected, options, generator(options.seed, Stream.DARK_NOISE, i))
        frame /= np.float32(spectrograph.gain * seconds)
        mjd = options.mjd - DARK_LEAD_DAYS + i * ((seconds + READOUT_S) / files.DAY_S)
        header = files.frame_header(options.profile, mjd, "DARK_DARK", seconds)
        path = root / "tmp" / options.obs_dir / f"{FIRST_DARK + i}d_pp.fits"
        paths.append(readout.write_raw(path, header, frame, options, options.frames + i))
    return tuple(paths)


def _exposed(expected: Image, options: SimulationOptions, noise: np.random.Generator) -> Image:
    return detector.expose(expected, options.simulated.readnoise, noise) if options.noise else expected.copy()


def _write_calibrations(root: Path, scene: Scene, pixels: detector.Pixels) -> tuple[Path, ...]:
    options = scene.options
    header = files.detector_header(options.profile, options.mjd - CALIBRATION_AGE_DAYS)
    rng = generator(options.seed, Stream.CALIBRATION_NOISE)
    paths: list[Path] = []

    def noisy(image: Image, sigma: float) -> Image:
        if not options.noise:
            return image
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        noise *= sigma
        noise += image
        return noise

    def write(suffix: str, drsoutid: str, image: NDArray[np.generic], **cards: files.Card) -> None:
        path = root / "calib" / f"{FIRST_CALIBRATION + options.seed}_pp_{suffix}.fits"
        paths.append(files.write_fits(path, {**header, "DRSOUTID": drsoutid, **cards}, image))

    write("dark_ref", "DARKREF", noisy(pixels.dark, DARK_NOISE_ADU_PER_S))
    write("badpixel", "BADPIX", pixels.faults.bad.astype(np.uint8))
    write("bmap", "BKGRD_MAP", scene.unlit().astype(np.uint8))
    nx = scene.transform.shape[1]
    for name, light in scene.light.items():
        centres = scene.centres[name]
        traces = chebyshev.chebval(2 * np.arange(nx) / nx - 1, centres.T)
        write(f"loco_{name}", "LOC_LOCO", traces, FIBER=name, **files.localisation_cards(centres))
        sigma = PROFILE_NOISE_SHARE * float(light.max())
        write(f"order_profile_{name}", "LOC_ORDERP", noisy(light, sigma), FIBER=name)
    dx_map, dy_map = scene.transform.maps()
    write("shapex", "SHAPE_X", dx_map)
    write("shapey", "SHAPE_Y", dy_map)
    write("shapel", "SHAPEL", np.array([scene.transform.linear]))
    return tuple(paths)


def _write_truth(root: Path, scene: Scene, pixels: detector.Pixels) -> Path:
    options = scene.options
    straight = straight_truth(scene.lit_strips(), scene.lit_light(), pixels.response, scene.transform)
    arrays: dict[str, NDArray[np.generic]] = {
        "n_flats": np.array(options.frames),
        "background": scene.background,
        "prnu": pixels.response,
        "bad": pixels.faults.bad,
        "beyond": pixels.faults.beyond_high | pixels.faults.beyond_low,
    }
    for name in options.lit_fibers:
        fiber = options.profile.fibers[name]
        found = fiber_truth(fiber, scene.strips_of(fiber.localisation), scene.centres[fiber.localisation], straight)
        arrays |= {
            f"blaze_{name}": found.blaze,
            f"response_{name}": found.response,
            f"centre_{name}": found.centre,
            f"row_{name}": found.row,
            f"pars_{name}": found.parameters,
        }
    return files.write_arrays(root / "truth" / f"{options.obs_dir}.npz", arrays)
