"""``flatcore shape``: the maps that straighten the orders."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the shape maps: SHAPEY from the traces, SHAPEX from the tilt of lines, SHAPEL identity.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats. SHAPEX is zero without --arc.
    """

EPILOG = """\b
Examples:
  flatcore shape 2020-08-31 --data-root /data/spirou
  flatcore shape 2020-08-31 --arc comb_pp.fits --replace --set tilt.zones=24"""

command = step_command("shape", ("shape",), TEXT, EPILOG)
