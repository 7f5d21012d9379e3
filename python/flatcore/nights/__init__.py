"""Many nights: found, planned, run on one machine or a cluster, and reported back to one database.

:func:`process` is the whole of it. The data flows from :mod:`.found` (what there is) by :mod:`.plan` (what is to be
done, and why) and :mod:`.batch` (who may begin, and with what) to :mod:`.work` (what a worker does) and :mod:`.ledger`
(what is recorded of it).
"""

from __future__ import annotations

from flatcore.nights.batch import Policy
from flatcore.nights.found import NightFilter
from flatcore.nights.item import Item
from flatcore.nights.process import BatchOptions, BatchResult, NightReport, Watching, process

__all__ = [
    "BatchOptions",
    "BatchResult",
    "Item",
    "NightFilter",
    "NightReport",
    "Policy",
    "Watching",
    "process",
]
