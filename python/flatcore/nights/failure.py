"""Why a night could not be run, in a form that travels; and whether it may run later."""

from __future__ import annotations

import errno
import sqlite3
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from flatcore.errors import BusyError, FlatcoreError

# What a system says of a disk or a network that may come back.
PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EINTR, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE,
    errno.ETIMEDOUT,
}  # fmt: skip

# Libraries that speak to storages: whatever they raise themselves is of the network.
NETWORK = {"aiobotocore", "aiohttp", "botocore", "requests", "urllib3"}


@dataclass(frozen=True)
class Failure:
    """Why a night came to nothing.

    Attributes
    ----------
    text
        For people.
    exit_status
        As ``flatcore run`` would end.
    passing
        Whether the same may work later: a lock, a lost worker, the network.
    details
        The traceback of an error that flatcore did not foresee; empty otherwise.
    """

    text: str
    exit_status: int
    passing: bool = False
    details: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception."""
        passing = is_of_network(error) or any(_passes(one) for one in _causes(error))
        if isinstance(error, FlatcoreError):
            return cls(str(error), error.exit_status, passing)
        if isinstance(error, MemoryError):
            return cls("out of memory", 3, passing)
        details = "".join(traceback.format_exception(error))
        if isinstance(error, OSError) and error.errno is not None:
            # A full disk, a folder that may not be written, a file that went away: the system's matter, not flatcore's.
            place = f"{error.filename}: " if error.filename is not None else ""
            return cls(f"{place}{error.strerror or error}", 3, passing, details)
        if passing:
            return cls(f"{type(error).__name__}: {error}", 3, passing, details)
        return cls(f"internal error: {error!r}", 1, passing, details)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_of_network(error: BaseException) -> bool:
    """Tell whether a connection or a library that speaks to storages failed, and not a disk of this machine."""
    return any(
        isinstance(one, (ConnectionError, TimeoutError)) or type(one).__module__.partition(".")[0] in NETWORK
        for one in _causes(error)
    )


def _passes(error: BaseException) -> bool:
    if isinstance(error, BusyError):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(error, OSError) and error.errno in PASSING
