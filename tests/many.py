"""Many nights made of one: its frames at other times, each a little different; and how two batches are compared."""

import datetime
import shutil

import numpy as np
from astropy.io import fits

from flatcore.caldb import CalibrationDatabase, RunLog
from flatcore.fitsio import read_image

FIRST = datetime.date(2020, 8, 1)
MJD_OF_FIRST = 59062.4

# What tells one run from another, and no more.
OF_THE_RUN = {"DRSPID", "DRSPDATE", "DRSVDATE", "CHECKSUM", "DATASUM", "DATE"}


def make_nights(source, root, count, frames=2, step_days=1):
    """Write nights into a data root, whose calibrations are references; gives their folders."""
    originals = sorted((source / "tmp" / "2020-08-31").glob("*_pp.fits"))[:frames]
    database = CalibrationDatabase.open(root)
    (root / "calib").mkdir(parents=True)
    database.add_files(sorted((source / "calib").glob("*.fits")), reference=True)
    return [add_night(root, originals, number * step_days) for number in range(count)]


def add_night(root, originals, day, kind=None):
    """Write one night; its pixels and its frames' names are its own."""
    name = f"{FIRST + datetime.timedelta(days=day)}"
    folder = root / "tmp" / name
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1000 + day)
    for number, path in enumerate(originals):
        header, image = read_image(path)
        header["MJDMID"] = MJD_OF_FIRST + day + number * 0.01
        header["MJDEND"] = header["MJDMID"] + 0.004
        if kind:
            header["DPRTYPE"] = kind
        scaled = image * (1.0 + 0.01 * random.standard_normal())
        noise = np.sqrt(np.maximum(image, 1.0)) * random.standard_normal(image.shape) * 0.01
        stem = f"{int(MJD_OF_FIRST + day)}{number:02d}{(kind or '')[:4].lower()}"
        fits.PrimaryHDU((scaled + noise).astype(np.float32), header).writeto(folder / f"{stem}f_pp.fits")
    return name


def copy_root(source, root):
    """Copy a data root, with the times of its files."""
    shutil.copytree(source, root, copy_function=shutil.copy2)
    return root


def products(root):
    """Data and headers of all products of a data root, without what tells one run from another."""
    found = {}
    for path in sorted((root / "red").rglob("*.fits")):
        with fits.open(path) as hdus:
            found[path.relative_to(root).as_posix()] = [(_bytes(hdu), _cards(hdu)) for hdu in hdus]
    return found


def _bytes(hdu):
    return None if hdu.data is None else hdu.data.tobytes()


def _cards(hdu):
    return [
        (card.keyword, repr(card.value), card.comment) for card in hdu.header.cards if card.keyword not in OF_THE_RUN
    ]


def calibration_rows(root):
    """Rows of the calibration database, without what tells one run from another."""
    rows = CalibrationDatabase.open(root).records()
    return sorted((r.keyname, r.fiber, r.reference, r.filename, r.humantime, r.unixtime, r.used) for r in rows)


def run_rows(root):
    """What the log of runs says of each, in the order of the nights."""
    return sorted(
        (run.obs_dir, run.record.get("dprtype", ""), run.status, run.exit_status, run.instrument)
        for run in RunLog.open(root).records()
    )


def leftovers(root):
    """Temporary files that nobody will ever use."""
    return sorted([*root.rglob(".*.tmp"), *root.rglob(".incoming")])
