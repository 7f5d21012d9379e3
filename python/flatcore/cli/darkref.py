"""``flatcore darkref``: the dark reference of a night."""

from __future__ import annotations

from flatcore.cli.bootstrap_options import step_command

TEXT = """Make and register the dark reference: the median of the night's dark frames, and bias frames.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats, whose exposure time a bias level is scaled to.
    Without darks it is zero, with a warning.
    """

EPILOG = """\b
Examples:
  flatcore darkref 2020-08-31 --data-root /data/spirou
  flatcore darkref 2020-08-31 --darks 'dark*.fits' --biases 'bias*.fits' --replace"""

command = step_command("darkref", ("darkref",), TEXT, EPILOG)
