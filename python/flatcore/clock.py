"""Time per stage, told to whoever watches."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

log = logging.getLogger("flatcore")

# Called with a stage's name and 0 at its start, and with its seconds at its end.
Progress = Callable[[str, float], None]


@dataclass
class Clock:
    """Seconds of each stage so far."""

    progress: Progress | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block as part of a stage."""
        if self.progress:
            self.progress(name, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
        log.debug("%s: %.3f s", name, spent, extra={"stage": name, "seconds": round(spent, 6)})
        if self.progress:
            self.progress(name, self.seconds[name])
