"""A crew of Dask workers: on this machine, or of any cluster that is reached by its scheduler's address."""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flatcore.errors import InputError, UsageError
from flatcore.nights.crew import Crew, Handle, LostError

try:
    import dask
    import distributed as untyped
    from distributed.scheduler import KilledWorker
except ImportError as error:
    raise UsageError(
        f"process: more than one worker, or a scheduler, needs Dask ({error}): pip install 'flatcore[cluster]'"
    ) from error

log = logging.getLogger("flatcore.nights")

# Most of Dask has no types.
distributed: Any = untyped

# How long the scheduler of a cluster may take to answer [s].
CONNECT_TIMEOUT_S = 30.0
# The caller looks up as often as this while it waits [s].
LOOK_UP_S = 0.5
# And as often as this it counts the workers.
COUNT_S = 5.0
# A worker may die so often with a night in its hands before the night is given up.
DEATHS = 3
# What a worker takes before it has a night [bytes]: with less it would be ended and begun again for ever.
LEAST_MEMORY = 300 * 2**20
# Workers of a local cluster talk over this address only.
LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class LocalWorkers:
    """Workers of this machine.

    Attributes
    ----------
    count
        Processes.
    memory_limit
        Of each, as Dask takes it: ``auto``, ``8GiB``, or 0 for none.
    """

    count: int
    memory_limit: str = "auto"


@contextlib.contextmanager
def local_cluster(workers: LocalWorkers) -> Iterator[Cluster]:
    """Start workers of this machine for as long as the block lasts.

    Raises
    ------
    UsageError
        The memory limit is not one.
    """
    memory_limit = _memory_of(workers.memory_limit)
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        # One night at a time in a worker's hands, and one more at the door.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.admin.system-monitor.gil.enabled": False,
        # Memory that a night freed may stay with its process: a worker that pauses for that would never go on.
        "distributed.worker.memory.pause": False,
        "distributed.logging": {"distributed": "error", "bokeh": "critical"},
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        with _deaf_to_ctrl_c():
            cluster = distributed.LocalCluster(
                n_workers=workers.count,
                threads_per_worker=1,
                memory_limit=memory_limit,
                processes=True,
                host=LOCAL,
                dashboard_address=f"{LOCAL}:0",
                silence_logs=logging.CRITICAL,
                preload="flatcore.nights.worker",
            )
            stack.enter_context(cluster)
            client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        yield Cluster(client, workers.count, keep=lambda: cluster.scale(workers.count))


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C while processes are begun: they inherit that, and this one ends them in order later on.

    Elsewhere than in the main thread nothing can be said of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def cluster_at(address: str) -> Iterator[Cluster]:
    """Work with the workers of a scheduler, such as ``tcp://host:8786``; they are let go of when the block ends.

    Raises
    ------
    InputError
        It does not answer, or has no workers.
    """
    try:
        client = distributed.Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"--scheduler {address}: does not answer: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise InputError(f"--scheduler {address}: has no worker") from error
        threads = client.nthreads()
        crowded = sorted(name for name, count in threads.items() if count > 1)
        if crowded:
            log.warning(
                "%d workers have several threads (%s, …): one night at a time runs in a process; start workers with "
                "--nthreads 1, and give the threads of a night by --threads",
                len(crowded),
                crowded[0],
            )
        _same_version(client)
        yield Cluster(client, len(threads))


class Cluster(Crew):
    """Workers of a Dask cluster.

    Parameters
    ----------
    client
        Of the cluster.
    size
        Number of workers.
    keep
        Begins workers anew in place of those that are gone for good; nothing where others look after them.
    """

    def __init__(self, client: Any, size: int, keep: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._address = client.scheduler.address
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._keep = keep
        self._counted = time.monotonic()
        self._is_empty = False
        self.size = size

    def submit(self, function: Callable[..., Any], *arguments: Any, urgent: bool = False) -> Handle:
        """Have a worker call it."""
        future = self._client.submit(
            function,
            *arguments,
            pure=False,
            key=f"{function.__name__}-{next(self._numbers)}-{id(self):x}",
            priority=1 if urgent else 0,
            retries=0,
        )
        future.add_done_callback(lambda _: self._ended.set())
        return future

    def wait(self, handles: list[Handle]) -> list[Handle]:
        """Wait until at least one is done; none are given where it takes long."""
        # Whoever ends after this look wakes the next wait at once.
        if not any(handle.done() for handle in handles):
            self._ended.wait(LOOK_UP_S)
        self._ended.clear()
        if self._client.status not in ("running", "connecting"):
            raise InputError(f"--scheduler {self._address}: the scheduler is gone")
        self._count_workers()
        return [handle for handle in handles if handle.done()]

    def _count_workers(self) -> None:
        """See now and then that there are workers: one that is ended several times in a row may not come back."""
        if time.monotonic() - self._counted < COUNT_S:
            return
        self._counted = time.monotonic()
        there = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if there < self.size:
            self._keep()
        if not there and not self._is_empty:
            log.warning("%s has no worker; waiting for one", self._address)
        self._is_empty = not there

    def fetch(self, handle: Handle) -> Any:
        """Give a result.

        Raises
        ------
        LostError
            The workers that were at it are gone.
        """
        try:
            return handle.result()
        except KilledWorker as error:
            raise LostError(
                f"its worker died, {DEATHS + 1} times in a row: killed for want of memory perhaps (--memory-limit)"
            ) from error
        except (distributed.CancelledError, distributed.client.FutureCancelledError) as error:
            raise LostError("the cluster lost it") from error


def _memory_of(limit: str) -> str | int:
    """Give a limit in bytes, 0 for none; or ``auto``, an equal share of the machine's memory for each core."""
    if limit in ("auto", "0"):
        return "auto" if limit == "auto" else 0
    expected = "expected auto, 0 for none, or a size such as 8GiB"
    try:
        size = int(dask.utils.parse_bytes(limit))
    except ValueError:
        raise UsageError(f"--memory-limit {limit}: {expected}") from None
    if size < LEAST_MEMORY:
        least = dask.utils.format_bytes(LEAST_MEMORY)
        raise UsageError(f"--memory-limit {limit}: {expected}; a worker without a night takes up to {least}")
    return size


def _same_version(client: Any) -> None:
    """Refuse workers with another flatcore: their results would not be those of the fingerprint.

    Raises
    ------
    InputError
        Naming a worker and both versions.
    """
    mine = _version()
    try:
        theirs = client.run(_version)
    except ModuleNotFoundError as error:
        raise InputError(f"--scheduler: a worker has no flatcore ({error})") from error
    for worker, version in theirs.items():
        if version != mine:
            raise InputError(f"--scheduler: worker {worker} has flatcore {version}, this is {mine}")


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - runs on workers

    return version("flatcore")
