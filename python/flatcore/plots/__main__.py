"""Draw what a run handed over: ``python -m flatcore.plots FOLDER``, as :mod:`flatcore.figures` starts it.

Several such processes may work on one folder: each figure is claimed by the first that comes to it. What becomes of a
figure is told on standard output, a JSON object per line: begun, then written, or failed with why and details.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

import matplotlib.style

from flatcore.errors import FlatcoreError
from flatcore.handover import load_drawing
from flatcore.plots.catalogue import figure_files
from flatcore.plots.view import image_views
from flatcore.plots.write import write_file


class _Teller(logging.Handler):
    """Tells what becomes of figures, and what the log would say."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream

    def tell(self, **words: str) -> None:
        self._stream.write(json.dumps(words) + "\n")
        self._stream.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(warning=record.getMessage())


def draw(folder: Path, teller: _Teller) -> None:
    """Draw the figures that nobody has claimed yet."""
    drawing = load_drawing(folder)
    files = [
        file
        for image in image_views(drawing.result, drawing.profile, drawing.settings, drawing.previous)
        for file in figure_files(image, drawing.folder, drawing.level)
    ]
    # What is there now stays: without looking through it again and again, drawing takes a fifth less time.
    gc.freeze()
    for number, file in enumerate(files):
        if not _claimed(folder / f"{number}.claim"):
            continue
        teller.tell(begun=file.path.name)
        try:
            # The user's own matplotlib style does not change the files.
            with matplotlib.style.context("default"):
                write_file(file)
        except Exception as error:
            why = str(error) if isinstance(error, FlatcoreError) else f"{type(error).__name__}: {error}"
            teller.tell(failed=file.path.name, why=why, details=traceback.format_exc())
        else:
            teller.tell(written=str(file.path))


def _claimed(path: Path) -> bool:
    """Claim a figure; False where another process was first."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    told = _Teller(sys.stdout)
    # What a library prints is no message.
    sys.stdout = sys.stderr
    logging.getLogger("flatcore").addHandler(told)
    draw(Path(sys.argv[1]), told)
