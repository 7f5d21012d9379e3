"""``flatcore bootstrap``: all calibrations of a night from its frames alone."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the calibrations that flatcore run needs, from the night's frames alone.

    OBS_DIR is a folder under <data root>/tmp; FILES are flats in it, paths or globs. Without FILES every flat of the
    folder is used; those of other exposure times or levels than most tell non-linear pixels. Made are the dark, bad
    pixels, unlit pixels, traces, order profiles and shape maps; all are registered together, or none.
    """

EPILOG = """\b
Examples:
  flatcore bootstrap 2020-08-31 --data-root /data/spirou
  flatcore bootstrap 2019-03-14 --instrument lhd.toml --darkfile dark.fits --write-profile lhd_windows.toml
  flatcore bootstrap 2020-08-31 --arc comb_pp.fits --darks 'dark*.fits' --plot 2
  flatcore bootstrap 2020-08-31 --dry-run --json --set badpix.dead=0.4 --set locate.min_snr=5

\b
One step alone: flatcore darkref, badpix, unlit, locate, orderprofile, shape.

Next: flatcore run 2020-08-31"""

command = step_command("bootstrap", (), TEXT, EPILOG)
