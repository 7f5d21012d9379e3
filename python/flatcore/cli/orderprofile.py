"""``flatcore orderprofile``: the profile of every order across the dispersion."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the order profiles, one file for each localisation.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats. The orders are traced in passing, or taken from
    --locofile.
    """

EPILOG = """\b
Examples:
  flatcore orderprofile 2020-08-31 --data-root /data/spirou
  flatcore orderprofile 2020-08-31 --locofile loco_AB.fits --locofile loco_C.fits --replace"""

command = step_command("orderprofile", ("orderprofile",), TEXT, EPILOG)
