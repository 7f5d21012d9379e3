"""Follow a tree of observation directories: see when a night's set is complete, run it once, tell whoever should know.

``tree`` lists what there is, ``wholeness`` looks into a file, ``tracking`` remembers when what changed,
``completeness`` decides, ``runner`` makes the night in a process of its own, ``hooks`` and ``status`` tell,
``memory`` survives a restart, and ``loop`` brings them together.
"""

from __future__ import annotations

__all__ = ["Rules", "Watch", "WatchRequest"]

from flatcore.watch.completeness import Rules
from flatcore.watch.loop import Watch
from flatcore.watch.request import WatchRequest
