"""What a watcher is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flatcore.errors import UsageError
from flatcore.instrument.keywords import Source
from flatcore.watch.completeness import Rules
from flatcore.watch.hooks import check_program


@dataclass(frozen=True)
class WatchRequest:
    """A tree to follow, and what to do with its nights.

    Attributes
    ----------
    data_root
        As of a run.
    run_options
        Words of the command line of ``flatcore run`` that every night gets.
    rules
        When a set is complete.
    in_dir, out_dir
        In place of ``<data root>/tmp`` and ``<data root>/red``; relative ones are below the data root.
    database_url
        Of the calibration database; SQLite in the data root where None.
    nights
        Patterns of the observation directories to look at; none: all.
    max_age_days
        Leave alone nights whose latest change is older [days]; None: none is too old.
    poll
        Look at intervals, or be told of changes by the system; None: told, but for network disks.
    poll_interval_s, rescan_s
        How often to look, without and with being told of changes [s].
    run_timeout_s
        A run that takes longer is ended [s].
    on_done, on_fail
        Commands to call after a night that was done, and after one that was not or that failed quality control.
    hook_timeout_s
        A command that takes longer is ended [s].
    status
        File to keep for monitoring, ``.prom`` or ``.json``; None: none.
    state
        File with what the watcher remembers; ``log/watch.json`` of the data root where None.
    retry_failed
        Forget failures at the start.
    keywords
        Where the instrument's headers have what flatcore reads, as its profile tells.
    """

    data_root: Path
    run_options: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    in_dir: Path | None = None
    out_dir: Path | None = None
    database_url: str | None = None
    nights: tuple[str, ...] = ()
    max_age_days: float | None = None
    poll: bool | None = None
    poll_interval_s: float = 10.0
    rescan_s: float = 60.0
    run_timeout_s: float = 3600.0
    on_done: tuple[str, ...] = ()
    on_fail: tuple[str, ...] = ()
    hook_timeout_s: float = 60.0
    status: Path | None = None
    state: Path | None = None
    retry_failed: bool = False
    keywords: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the data root absolute; refuse a status file of no known form, and commands that cannot be started."""
        object.__setattr__(self, "data_root", Path(self.data_root).absolute())
        for option, words in (("--on-done", self.on_done), ("--on-fail", self.on_fail)):
            if words:
                check_program(option, words)
        if self.status is not None and self.status.suffix not in (".prom", ".json"):
            raise UsageError(
                f"--status {self.status}: expected a name that ends in .prom (Prometheus text file) or .json"
            )

    @property
    def tree(self) -> Path:
        """Folder of the observation directories."""
        return self.data_root / (self.in_dir or "tmp")

    @property
    def products(self) -> Path:
        """Folder of the products' directories."""
        return self.data_root / (self.out_dir or "red")

    @property
    def state_file(self) -> Path:
        """File with what the watcher remembers."""
        return self.data_root / "log" / "watch.json" if self.state is None else self.state.absolute()

    @property
    def run_mark(self) -> Path:
        """File that a run of this watcher holds as long as it lives."""
        return self.state_file.with_name(f".{self.state_file.name}.run")
