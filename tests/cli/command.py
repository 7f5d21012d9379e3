"""Running the command line in this process, and looking at what it made."""

import json
from pathlib import Path

import pytest
from astropy.io import fits

from flatcore.cli import main

OBS_DIR = "2020-08-31"


def run(*arguments):
    """Exit status of a command line."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def frames_of(root):
    """The night's frames."""
    return sorted((root / "tmp" / OBS_DIR).glob("*.fits"))


def files_below(folder):
    """Every file below a folder, but for logs and locks."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] != "log" and path.suffix != ".lock")


def edit(path, hdu=0, **cards):
    """Set header cards of a file; None removes one."""
    with fits.open(path, mode="update") as hdus:
        for keyword, value in cards.items():
            if value is None:
                del hdus[hdu].header[keyword]
            else:
                hdus[hdu].header[keyword] = value


def rewrite(source, target, change=None, **cards):
    """Copy a FITS file with other pixels or header cards."""
    with fits.open(source) as hdus:
        header, data = hdus[0].header.copy(), hdus[1].data.copy()
    header.update(cards)
    data = data if change is None else change(data)
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(data)]).writeto(target, overwrite=True)
    return target


def refused(capsys, status, *arguments):
    """Run a command that must fail; what it said on standard error."""
    assert run(*arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


class Made:
    """What a run with ``--json`` made: its summary, and its products by kind and fibre."""

    def __init__(self, capsys, root, *options, statuses=(0,), fiber="C"):
        assert run("run", OBS_DIR, "--data-root", root, "--json", "--fiber", fiber, *options) in statuses
        captured = capsys.readouterr()
        self.said = captured.err
        self.summary = json.loads(captured.out)
        self.paths = {(p["kind"], p["fiber"]): Path(p["path"]) for p in self.summary["products"]}
        self.fiber = fiber

    def path(self, kind="FF_BLAZE"):
        return self.paths[kind, self.fiber if kind != "DEBUG_BACK" else ""]

    def data(self, kind="FF_BLAZE", hdu=1):
        return fits.getdata(self.path(kind), hdu)

    def header(self, kind="FF_BLAZE", hdu=0):
        return fits.getheader(self.path(kind), hdu)

    @property
    def e2ds(self):
        """The spectrum before any mask."""
        return self.data("EXT_E2DS_LL", "E2DS")
