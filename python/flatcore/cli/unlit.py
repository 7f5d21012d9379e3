"""``flatcore unlit``: the map of the pixels on which the background is measured."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the map of the unlit pixels between the orders, on which the background is measured.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats. The width of the ribbons is the profile's
    background.box.
    """

EPILOG = """\b
Examples:
  flatcore unlit 2020-08-31 --data-root /data/spirou
  flatcore unlit 2020-08-31 --set unlit.percent=10 --set background.box=64 --replace"""

command = step_command("unlit", ("unlit",), TEXT, EPILOG)
