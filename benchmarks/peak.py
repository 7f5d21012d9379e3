"""Peak memory of the median of files, in a process that does nothing else: ``python -m benchmarks.peak FILES``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.measure import peak_memory
from flatcore import _core
from flatcore.fitsio import open_image

if __name__ == "__main__":
    sources = [open_image(Path(name)).location.source() for name in sys.argv[1:]]
    before = peak_memory()
    _core.combine_files(sources, "median", 5.0, 1.0, 0.0)
    json.dump({"before": before, "after": peak_memory()}, sys.stdout)
