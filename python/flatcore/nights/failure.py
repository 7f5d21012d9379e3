"""Why a night could not be run, in a form that travels; and whether it may run later."""

from __future__ import annotations

import errno
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
        The traceback of an error that is a fault of flatcore itself; empty otherwise.
    """

    text: str
    exit_status: int
    passing: bool = False
    details: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception."""
        passing = any(_passes(one) for one in _causes(error))
        if isinstance(error, FlatcoreError):
            return cls(str(error), error.exit_status, passing)
        if isinstance(error, MemoryError):
            return cls("out of memory", 3, passing)
        if passing:
            return cls(f"{type(error).__name__}: {error}", 3, passing)
        return cls(f"internal error: {error!r}", 1, passing, "".join(traceback.format_exception(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _passes(error: BaseException) -> bool:
    if isinstance(error, (BusyError, ConnectionError, TimeoutError)):
        return True
    if type(error).__module__.partition(".")[0] in NETWORK:
        return True
    return isinstance(error, OSError) and error.errno in PASSING
