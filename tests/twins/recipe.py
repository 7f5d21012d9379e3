"""The whole night in NumPy and SciPy, one stage after the other; verified against the golden values."""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.polynomial import chebyshev

from tests.twins import background, blaze, calibrate, combine, extract, hotpixels, straighten
from tests.twins.quiet import quiet_nan
from tests.twins.statistics import robust_sigma


@dataclass
class TwinFiber:
    """Arrays of one fibre."""

    e2ds: np.ndarray
    blaze: np.ndarray
    flat: np.ndarray
    rms: np.ndarray
    snr: np.ndarray


def effective_readnoise(image, unlit):
    """Robust sigma of the successive differences of the unlit pixels."""
    return robust_sigma(np.diff(np.asarray(image, float)[unlit])) / np.sqrt(2)


def moved_trace(coefficients, linear, nx):
    """A trace after the linear transform, refitted to its own degree; its coefficients."""
    dx, dy, a, b, c, d = linear
    x = np.arange(nx, dtype=float)
    y = chebyshev.chebval(2 * x / nx - 1, coefficients)
    inverse = np.linalg.inv([[a, b], [c, d]])
    x2, y2 = inverse @ np.array([x, y]) - np.array([[dx], [dy]])
    return chebyshev.chebfit(2 * x2 / nx - 1, y2, len(coefficients) - 1)


def straight_row(coefficients, linear, nx):
    """The moved trace at the middle column."""
    return chebyshev.chebval(2 * (nx // 2) / nx - 1, moved_trace(coefficients, linear, nx))


@quiet_nan
def signal_to_noise(e2ds, readnoise, width):
    """Flux of the middle 100 columns over its noise."""
    middle = e2ds.size // 2
    flux = np.nansum(e2ds[middle - 50 : middle + 50]) / 100
    return flux / np.sqrt(flux + readnoise**2 * width)


def read(folder, suffix):
    """Image and header of the calibration whose name ends so."""
    (path,) = folder.glob(f"*_{suffix}.fits")
    with fits.open(path) as hdus:
        return np.array(hdus[1].data), hdus[0].header


def traces_of(header, which):
    """Chebyshev coefficients of a fibre's traces."""
    count, terms = header["LONBO"], header["LODEGCTR"] + 1
    rows = np.array([header[f"LOCE{i:04d}"] for i in range(count * terms)]).reshape(count, terms)
    pairs = {"even": rows[0::2], "odd": rows[1::2]}
    return rows if which == "all" else (rows[0::2] + rows[1::2]) / 2 if which == "pair-mean" else pairs[which]


def calibrated_image(root, profile, obs_dir, method="median"):
    """The image in electrons after every calibration step, and its read noise."""
    detector, back, folder = profile.detector, profile.background, root / "calib"
    frames = []
    for path in sorted((root / "tmp" / obs_dir).glob("*.fits")):
        with fits.open(path) as hdus:
            frames.append(np.array(hdus[1].data))
            header = hdus[0].header.copy()
    image = combine.combine_frames(np.stack(frames), method)
    factor = detector.gain * header["EXPTIME"]
    frame_time, saturation = header["FRMTIME"], header["SATURATE"]
    low, high = -10 * header["RDNOISE"] * detector.gain / frame_time, saturation / frame_time
    bad, unlit = read(folder, "badpixel")[0], read(folder, "bmap")[0] != 0
    dark = read(folder, "dark_ref")[0]
    image = calibrate.to_electrons(image, low, high, dark, detector.flip, factor, detector.rows, detector.columns, bad)
    cleaned = image
    if back.scattered_amplitude > 0:
        cleaned = image - background.scattered_light(
            image, back.scattered_amplitude, back.kernel_y, back.kernel_x, back.kernel_sigma
        )
    image = image - background.global_background(cleaned, unlit, back.box)
    image = hotpixels.repair_hot_pixels(image, bad)
    image = calibrate.out_of_bounds_to_nan(image, low * factor, high * factor)
    return image, effective_readnoise(image, unlit)


def run_night(root, profile, obs_dir, method="median", fit_cubic=True, slow_part=False):
    """Every fibre's spectra, blaze and flat."""
    image, readnoise = calibrated_image(root, profile, obs_dir, method)
    folder = root / "calib"
    linear = read(folder, "shapel")[0].ravel()
    maps = read(folder, "shapex")[0], read(folder, "shapey")[0]
    straight = straighten.straighten(image, linear, *maps)
    nx = straight.shape[1]
    profiles = {
        source: straighten.straighten(read(folder, f"order_profile_{source}")[0], linear, *maps)
        for source in {fiber.localisation for fiber in profile.fibers.values()}
    }
    result = {}
    for name, fiber in profile.fibers.items():
        shape = profiles[fiber.localisation]
        orders = []
        for trace in traces_of(read(folder, f"loco_{fiber.localisation}")[1], fiber.traces):
            first, count = extract.order_rows(straight_row(trace, linear, nx), fiber.below, fiber.above)
            pixels, weights = extract.window(straight, first, count), extract.window(shape, first, count)
            e2ds, *_ = extract.extract_order(pixels, weights, fiber.below + fiber.above > 10)
            model, fitted, _ = blaze.fit_blaze(e2ds, profile.blaze.median_width, profile.blaze.cut, fit_cubic)
            flat, model, _, rms = blaze.make_flat(e2ds, model, fitted)
            if slow_part:
                flat = flat / blaze.low_pass(flat)
            orders.append((e2ds, model, flat, rms, signal_to_noise(e2ds, readnoise, fiber.below + fiber.above)))
        result[name] = TwinFiber(*(np.array(column) for column in zip(*orders, strict=True)))
    return result
