"""``flatcore badpix``: the bad pixels of a night."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the map of bad pixels: dead, hot, too bright, non-linear, unstable, or without a value.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats. Those of other exposure times or levels than most
    tell non-linear pixels.
    """

EPILOG = """\b
Examples:
  flatcore badpix 2020-08-31 --data-root /data/spirou
  flatcore badpix 2020-08-31 --darkfile dark_ref.fits --set badpix.dead=0.4 --dry-run"""

command = step_command("badpix", ("badpix",), TEXT, EPILOG)
