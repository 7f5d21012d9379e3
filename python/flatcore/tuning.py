"""What concerns a whole process that runs nights: its memory, its garbage, its threads."""

from __future__ import annotations

import contextlib
import gc
import os


def settle_process() -> None:
    """Settle what concerns the whole process, before a command and its libraries are imported."""
    # Imports make a hundred and forty thousand objects that stay: looking through them for garbage takes longer than
    # many a night's work. A plain run never makes so many that it has to.
    gc.set_threshold(500_000, 20, 20)
    # The one who uses linear algebra here solves problems of a few numbers; threads would only wait for one another.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let the C library keep images that are freed for those that come: new pages cost more than what is put in them.

    Only glibc can be told.
    """
    import ctypes  # noqa: PLC0415 - keeps help instant

    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        # M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h: one heap, no memory of its own for a large array, and
        # nothing given back before the end.
        for parameter, value in ((-8, 1), (-4, 0), (-1, 2**31 - 1)):
            mallopt(parameter, value)
