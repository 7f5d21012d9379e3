"""The log of runs: what each was asked, what went in, what came out, and how it ended."""

from __future__ import annotations

import difflib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import sqlalchemy as sql

from flatcore.caldb.engine import Backend
from flatcore.caldb.process import is_gone, start_of
from flatcore.caldb.schema import RUNS
from flatcore.errors import InputError, OutputError, UsageError

Ending = Literal["done", "failed-qc", "error", "interrupted"]
Status = Literal["running", "killed", "done", "failed-qc", "error", "interrupted"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)

HOW_TO_RUN = "it is made by the first: flatcore run"


def ending_of(passed: bool) -> tuple[Literal["done", "failed-qc"], int]:
    """Give how a run ended that made products, and its exit status: 4 where a fibre failed quality control."""
    return ("done", 0) if passed else ("failed-qc", 4)


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes
    ----------
    id
        Its number in this database.
    pid
        Its identifier, which its products carry as DRSPID and its calibrations as PID.
    obs_dir, instrument
        What was reduced.
    started, finished
        ISO 8601 in UTC, without a zone; ``finished`` is None until it has ended.
    status
        running, done, failed-qc (done, but a fibre failed quality control), error, interrupted; or killed: it never
        said how it ended, and its process is gone.
    exit_status
        Of the command; None until it has ended.
    program, shortname, recipe_kind
        What ran: the program and the recipe by its long and short name.
    host, os_pid
        The process that ran it.
    record
        All that the run told when it ended, see ``docs/database.md``; empty until then.
    """

    id: int
    pid: str
    obs_dir: str
    instrument: str
    started: str
    finished: str | None
    status: Status
    exit_status: int | None
    program: str
    shortname: str
    recipe_kind: str
    host: str
    os_pid: int
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunLog:
    """The runs of a data root, in the same database as its calibrations.

    Attributes
    ----------
    backend
        The database.
    """

    backend: Backend

    @classmethod
    def open(cls, data_root: str | Path, url: str | None = None) -> RunLog:
        """Name a data root's log of runs; nothing is read or created yet.

        Parameters
        ----------
        data_root
            The folder that holds ``calib``, and in it ``flatcore.db``.
        url
            Of a database elsewhere, as for :meth:`flatcore.caldb.CalibrationDatabase.open`.

        Raises
        ------
        UsageError
            The URL is not one, is of another kind of database, or needs a driver that is not installed.
        """
        return cls(Backend.of(data_root, url))

    def exists(self) -> bool:
        """Tell whether there is a database; one that is not a file is taken to be there."""
        return self.backend.exists

    @property
    def name(self) -> str:
        """The database as messages show it."""
        return self.backend.name

    def start(
        self,
        *,
        obs_dir: str,
        instrument: str,
        program: str = "flatcore",
        shortname: str = "",
        recipe_kind: str = "",
        pid: str | None = None,
    ) -> str:
        """Record a run of this process as running, and give its identifier.

        Parameters
        ----------
        obs_dir, instrument, program, shortname, recipe_kind
            See :class:`RunRecord`.
        pid
            Its identifier; by default a new one, the time to the microsecond.

        Raises
        ------
        UsageError
            There is a run of that identifier.
        OutputError
            The database cannot be written.
        """
        with self.backend.writing() as connection:
            now = datetime.now(UTC)
            if pid is None:
                moment = now
                while _is_taken(connection, identifier := f"PID-{moment:%Y%m%dT%H%M%S.%f}"):
                    moment += timedelta(microseconds=1)
            elif _is_taken(connection, identifier := pid):
                raise UsageError(f"{self.name}: has a run {pid} already")
            row = {
                "pid": identifier,
                "obs_dir": obs_dir,
                "instrument": instrument,
                "started": _iso(now),
                "status": "running",
                "program": program,
                "shortname": shortname,
                "recipe_kind": recipe_kind,
                "host": socket.gethostname(),
                "os_pid": os.getpid(),
                "os_started": start_of(os.getpid()),
                "record": "{}",
            }
            connection.execute(sql.insert(RUNS).values(row))
        return identifier

    def finish(self, pid: str, status: str, exit_status: int, record: Mapping[str, Any]) -> None:
        """Record how a run ended, and all that it tells.

        Parameters
        ----------
        pid
            What :meth:`start` gave.
        status
            done, failed-qc, error or interrupted.
        exit_status
            Of the command.
        record
            Tables, lists, texts and numbers, also NumPy's; NaN and infinity become null, paths text.

        Raises
        ------
        UsageError
            The status is not one, or the record holds something that JSON does not.
        OutputError
            No such run is running, or the database cannot be written.
        """
        if status not in ENDINGS:
            raise UsageError(f"unknown status of a run {status!r}: expected {', '.join(ENDINGS)}")
        ended = {
            "finished": _iso(datetime.now(UTC)),
            "status": status,
            "exit_status": exit_status,
            "record": json.dumps(plain(record), allow_nan=False),
        }
        running = (RUNS.c.pid == pid) & (RUNS.c.status == "running")
        with self.backend.writing() as connection:
            if connection.execute(sql.update(RUNS).where(running).values(ended)).rowcount != 1:
                raise OutputError(f"{self.name}: no run {pid} is running; it cannot be recorded as {status}")

    def reopen(self, pid: str) -> None:
        """Record that a run that had ended goes on: what it made is to be made again.

        Raises
        ------
        OutputError
            No such run has ended, or the database cannot be written.
        """
        has_ended = (RUNS.c.pid == pid) & (RUNS.c.status.in_(ENDINGS))
        again = {"finished": None, "status": "running", "exit_status": None, "record": "{}"}
        with self.backend.writing() as connection:
            if connection.execute(sql.update(RUNS).where(has_ended).values(again)).rowcount != 1:
                raise OutputError(f"{self.name}: no run {pid} has ended; it cannot go on")

    def records(self, obs_dir: str | None = None, limit: int | None = None) -> list[RunRecord]:
        """Give the runs, the latest first.

        Parameters
        ----------
        obs_dir
            Only those of an observation directory.
        limit
            Only so many.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        conditions = [] if obs_dir is None else [RUNS.c.obs_dir == obs_dir]
        query = sql.select(RUNS).where(*conditions).order_by(RUNS.c.id.desc()).limit(limit)
        return [_record(row) for row in self.backend.rows(RUNS, query, HOW_TO_RUN)]

    def count(self, obs_dir: str | None = None) -> int:
        """Count the runs, as :meth:`records` without a limit would give."""
        conditions = [] if obs_dir is None else [RUNS.c.obs_dir == obs_dir]
        query = sql.select(sql.func.count().label("runs")).select_from(RUNS).where(*conditions)
        return sum(row["runs"] for row in self.backend.rows(RUNS, query, HOW_TO_RUN))

    def made(self) -> set[str]:
        """Give the identifiers of all runs that made products.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        query = sql.select(RUNS.c.pid).where(RUNS.c.status.in_(("done", "failed-qc")))
        return {row["pid"] for row in self.backend.rows(RUNS, query, HOW_TO_RUN)}

    def running(self, obs_dir: str) -> list[RunRecord]:
        """Give the runs of an observation directory that go on, the latest first; those that were killed do not.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        query = sql.select(RUNS).where(RUNS.c.obs_dir == obs_dir, RUNS.c.status == "running").order_by(RUNS.c.id.desc())
        found = [_record(row) for row in self.backend.rows(RUNS, query, HOW_TO_RUN)]
        return [run for run in found if run.status == "running"]

    def get(self, pid_or_id: str | int) -> RunRecord:
        """Give the run of an identifier, or of a number.

        Raises
        ------
        InputError
            There is none; the message names the closest.
        CalibrationError
            There is no database, or it cannot be read.
        """
        asked = str(pid_or_id).strip()
        condition = RUNS.c.id == int(asked) if asked.isdecimal() and len(asked) < 10 else RUNS.c.pid == asked
        for row in self.backend.rows(RUNS, sql.select(RUNS).where(condition), HOW_TO_RUN):
            return _record(row)
        raise InputError(f"{self.name}: has no run {asked}; {self._closest(asked)}")

    def find(self, name: str) -> RunRecord:
        """Give the run of an identifier or a number, or of an observation directory the latest that made products.

        A directory whose runs made none gives the latest of them.

        Raises
        ------
        InputError
            There is none; the message names the closest.
        CalibrationError
            There is no database, or it cannot be read.
        """
        of_night = self.records(name)
        made = [run for run in of_night if run.status in ("done", "failed-qc")]
        for run in (made or of_night)[:1]:
            return run
        return self.get(name)

    def _closest(self, asked: str) -> str:
        query = sql.select(RUNS.c.id, RUNS.c.pid).order_by(RUNS.c.id.desc())
        known = self.backend.rows(RUNS, query, HOW_TO_RUN)
        if not known:
            return "it has none at all"
        if asked.isdecimal():
            number = min((row["id"] for row in known), key=lambda number: abs(number - int(asked)))
            return f"the closest is {number}"
        close = difflib.get_close_matches(asked, [row["pid"] for row in known], 1)
        return f"did you mean {close[0]}?" if close else f"the latest is {known[0]['pid']}"


def plain(value: Any) -> Any:
    """Give a value in the types that JSON holds; NaN and infinity become None, paths and times text.

    Raises
    ------
    UsageError
        It, or something in it, is of another type.
    """
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    raise UsageError(f"record of a run: {value!r} is {type(value).__name__}, which JSON does not hold")


def _is_taken(connection: sql.Connection, pid: str) -> bool:
    return connection.execute(sql.select(RUNS.c.id).where(RUNS.c.pid == pid)).first() is not None


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _record(row: sql.RowMapping) -> RunRecord:
    values = {name: value for name, value in row.items() if name not in ("os_started", "record")}
    record = RunRecord(**values, record=json.loads(row["record"]))
    if record.status == "running" and is_gone(record.host, record.os_pid, row["os_started"]):
        return replace(record, status="killed")
    return record
