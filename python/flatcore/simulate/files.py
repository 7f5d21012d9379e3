"""Writing a simulated night: headers as the recipe expects them, files whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.errors import OutputError
from flatcore.instrument import Profile, Simulated
from flatcore.simulate.detector import FRAME_TIME_S, SATURATION_ADU

Card = str | int | float | bool

DAY_S = 86_400.0


def detector_header(profile: Profile, mjd: float, exptime_s: float | None = None) -> dict[str, Card]:
    """Keywords of every file of a night: the instrument, its detector, and the time of an exposure.

    Parameters
    ----------
    profile
        The instrument; its own header values make a frame recognisable.
    mjd
        Start of the exposure [days].
    exptime_s
        Exposure time [s]; that of the flats where None.
    """
    detector, simulated = profile.detector, profile.simulate or Simulated()
    seconds = simulated.exptime if exptime_s is None else exptime_s
    # A frame that is read once ends with the exposure: its EXPTIME serves as frame time.
    frame_time = {} if detector.frame_time == "EXPTIME" else _named("FRMTIME", detector.frame_time, FRAME_TIME_S)
    header: dict[str, Card] = {
        "INSTRUME": profile.name,
        "EXPTIME": seconds,
        "RDNOISE": simulated.readnoise,
        "GAIN": detector.gain,
        **frame_time,
        **_named("SATURATE", detector.saturation, SATURATION_ADU),
        "MJDATE": mjd,
        "MJDEND": mjd + seconds / DAY_S,
        "MJDMID": mjd + seconds / DAY_S / 2,
    }
    return header | profile.header


def bounds_adu_per_s(profile: Profile) -> tuple[float, float]:
    """Lower and upper bound that calibration holds a pixel to [ADU/s]."""
    detector, simulated = profile.detector, profile.simulate or Simulated()
    read_once = simulated.exptime if detector.frame_time == "EXPTIME" else FRAME_TIME_S
    frame_time = detector.frame_time if isinstance(detector.frame_time, float) else read_once
    saturation = detector.saturation if isinstance(detector.saturation, float) else SATURATION_ADU
    return -10 * simulated.readnoise * detector.gain / frame_time, saturation / frame_time


def frame_header(profile: Profile, mjd: float, lamp: str, exptime_s: float | None = None) -> dict[str, Card]:
    """Keywords of a preprocessed frame; ``lamp`` is its DPRTYPE."""
    return {
        **detector_header(profile, mjd, exptime_s),
        "DRSOUTID": "DRS_PP",
        "DPRTYPE": lamp,
        "OBJECT": "Calibration",
        "DRSMODE": profile.header.get("DRSMODE", "SPECTROSCOPY"),
        "QCC_ALL": True,
    }


def localisation_cards(coefficients: NDArray[np.float64]) -> dict[str, Card]:
    """Keywords of a LOC file.

    Parameters
    ----------
    coefficients
        Chebyshev coefficients, traces along the first axis, on the domain [0, nx].
    """
    traces, terms = coefficients.shape
    header: dict[str, Card] = {"LONBO": traces, "LODEGCTR": terms - 1, "LODEGFWH": 0, "LOPTYPE": "chebyshev"}
    return header | {f"LOCE{i:04d}": float(value) for i, value in enumerate(coefficients.ravel())}


def write_fits(path: Path, cards: Mapping[str, Card], image: NDArray[np.generic]) -> Path:
    """Write the header alone in the primary HDU and the image in the next.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    return write_hdus(path, fits.HDUList([primary, fits.ImageHDU(image)]))


def write_hdus(path: Path, hdus: fits.HDUList) -> Path:
    """Write HDUs.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """
    return _whole(path, lambda temporary: hdus.writeto(temporary, overwrite=True))


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> Path:
    """Write named arrays to an ``.npz``.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """

    def save(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    return _whole(path, save)


def _named(keyword: str, value: float | str, usual: float) -> dict[str, Card]:
    """Give a profile's keyword its usual value; a number of the profile's own is repeated in the header."""
    return {value: usual} if isinstance(value, str) else {keyword: value}


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write beside the final name, then rename: a reader never sees part of a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path
