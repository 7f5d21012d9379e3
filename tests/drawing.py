"""Do as ``python -m flatcore.plots FOLDER``, with tiny figures, but fail at one: FAULT=how:part of its name."""

import os
import runpy
import signal
import time
from pathlib import Path

from matplotlib.figure import Figure

from flatcore.plots import catalogue, write

HOW, _, NAME = os.environ["FAULT"].partition(":")
WRITE = write.write_file


def write_file(file):
    """Fail at the figure whose name was given."""
    if not NAME or NAME not in file.path.name:
        return WRITE(file)
    if HOW == "raise":
        raise ValueError("no ink")
    if HOW == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if HOW == "exit":
        os._exit(3)
    Path(os.environ["PIDS"]).write_text(str(os.getpid()))
    time.sleep(600)
    return None


def tiny(*_args, **_kwargs):
    """Give a figure that is drawn in no time."""
    return Figure(figsize=(0.2, 0.2))


for figure in [name for name in vars(catalogue) if name.endswith("_figure")]:
    setattr(catalogue, figure, tiny)
if HOW == "start":
    raise SystemExit("no start")
write.write_file = write_file
runpy.run_module("flatcore.plots", run_name="__main__")
