"""What is to be done with each set of flats, and why; or why nothing can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flatcore import calibrations
from flatcore.caldb import CalibrationRecord, CalibrationSnapshot, RunLog, RunRecord
from flatcore.caldb.keys import unix_of_mjd
from flatcore.errors import FlatcoreError, InputError, UsageError
from flatcore.fingerprint import Fingerprint, fingerprint
from flatcore.frames import fibers_to_extract
from flatcore.header import failed_quality_control, required
from flatcore.instrument import Profile, load_profile, profile_for_header
from flatcore.night import profile_and_settings
from flatcore.nights.found import FoundFrame, FoundSet
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.site import File, Site
from flatcore.request import NightRequest
from flatcore.results import ChosenCalibration
from flatcore.resume import made_beside
from flatcore.settings import OutputSettings, Settings

# Checks that look at other nights: where one decides, a verdict is known only once those are.
COMPARING = {"flat_change", "blaze_change"}


@dataclass(frozen=True)
class Task:
    """A set of flats to be run, with all that a worker needs to know.

    Attributes
    ----------
    obs_dir, kind
        The night's folder and DPRTYPE.
    request
        What is asked of it; its frames are named.
    files
        The frames.
    mjd_mid
        Mean time of the frames that are used.
    fibers
        Those that are extracted.
    snapshot
        The calibrations chosen for it.
    fingerprint
        Of the run.
    settings
        As the profile and the request have them.
    instrument
        Name of the profile.
    why
        Why it is run.
    """

    obs_dir: str
    kind: str
    request: NightRequest
    files: tuple[File, ...]
    mjd_mid: float
    fibers: tuple[str, ...]
    snapshot: CalibrationSnapshot
    fingerprint: Fingerprint
    settings: Settings
    instrument: str
    why: str
    # Whether the quality control of this set asks about other nights.
    comparing: bool = False

    @property
    def registers(self) -> bool:
        """Whether flats and blazes that pass become calibrations, which later nights see."""
        return self.settings.output.save and self.settings.output.database

    @property
    def label(self) -> str:
        """Night and kind."""
        return f"{self.obs_dir} {self.kind}"


@dataclass(frozen=True)
class Skipped:
    """A set with which nothing is done, and why.

    Attributes
    ----------
    pid
        The run that made its products, where one did.
    passed
        Whether it passed quality control then.
    """

    obs_dir: str
    kind: str
    why: str
    pid: str = ""
    passed: bool = True


@dataclass(frozen=True)
class Refused:
    """A set that cannot be run, and why."""

    obs_dir: str
    kind: str
    error: FlatcoreError

    @property
    def label(self) -> str:
        """Night and kind."""
        return f"{self.obs_dir} {self.kind}".rstrip()


Entry = Task | Skipped | Refused


@dataclass(frozen=True)
class Wish:
    """What is asked of every night.

    Attributes
    ----------
    template
        The request, whose night and files are not looked at.
    force
        Run what is unchanged too.
    retry_failed
        Only sets whose latest run came to nothing.
    """

    template: NightRequest
    force: bool = False
    retry_failed: bool = False


@dataclass
class Planner:
    """Decides set by set.

    Attributes
    ----------
    site
        Where the nights are.
    wish
        What is asked of them.
    runs
        Earlier runs.
    known
        The calibrations; an error where there is no database.
    """

    site: Site
    wish: Wish
    runs: RunLog
    known: KnownCalibrations | FlatcoreError
    _by_night: dict[str, list[RunRecord]] = field(default_factory=dict)

    def plan(self, found: Iterable[FoundSet], tell: Callable[[int], None] = lambda done: None) -> list[Entry]:
        """Decide on all sets; ``tell`` is called with the number decided on.

        Raises
        ------
        UsageError
            A setting is wrong: it would be for every night.
        """
        entries: list[Entry] = []
        for one in found:
            entries.append(self._entry(one))
            tell(len(entries))
        return entries

    def _entry(self, one: FoundSet) -> Entry:
        runs = self._runs_of(one)
        if self.wish.retry_failed and not _failed(runs):
            return Skipped(one.obs_dir, one.kind, "did not fail" if runs else "was never run")
        try:
            if one.problem is not None:
                raise one.problem
            return self._task_or_skip(one, runs)
        except UsageError:
            raise
        except FlatcoreError as error:
            return Refused(one.obs_dir, one.kind, error)

    def _task_or_skip(self, one: FoundSet, runs: list[RunRecord]) -> Entry:
        request = replace(self.wish.template, obs_dir=one.obs_dir, files=tuple(frame.file.name for frame in one.frames))
        first = one.frames[0]
        # The profile travels with the request: a worker need not have its file.
        request = replace(request, instrument=base_profile(request, first))
        profile, settings = profile_and_settings(request, Path(first.file.path), first.header)
        asked = request.fiber
        if asked != "ALL" and asked in profile.fibers and one.kind.split("_")[profile.fibers[asked].channel] == "DARK":
            return Skipped(one.obs_dir, one.kind, f"fibre {asked} gets no light")
        lit, _ = fibers_to_extract(profile, one.kind, asked)
        used = _used(one, settings)
        mjd_mid = float(np.mean([required(frame.header, "MJDMID", Path(frame.file.path)) for frame in used]))
        if isinstance(self.known, FlatcoreError):
            raise self.known
        needed = calibrations.needs(profile, settings, lit)
        around = self.known.around(needed, unix_of_mjd(mjd_mid), settings.calibration.max_age_days)
        chosen = calibrations.choose(needed, around, mjd_mid, settings.calibration)
        mark = fingerprint(
            (frame.file.stamp for frame in used),
            chosen,
            profile,
            settings,
            fibers=lit,
            folder=self.site.red_folder(one.obs_dir),
        )
        why = self._why(one, runs, mark, chosen, lit, output=settings.output)
        if isinstance(why, RunRecord):
            return Skipped(one.obs_dir, one.kind, "unchanged", why.pid, why.status == "done")
        return Task(
            obs_dir=one.obs_dir,
            kind=one.kind,
            request=request,
            files=tuple(frame.file for frame in one.frames),
            mjd_mid=mjd_mid,
            fibers=lit,
            snapshot=replace(around, held=_records_of(around, chosen)),
            fingerprint=mark,
            settings=settings,
            instrument=profile.name,
            why=why,
            comparing=bool(COMPARING & set(profile.qc.decisive)),
        )

    def _why(
        self,
        one: FoundSet,
        runs: list[RunRecord],
        mark: Fingerprint,
        chosen: tuple[ChosenCalibration, ...],
        lit: tuple[str, ...],
        *,
        output: OutputSettings,
    ) -> str | RunRecord:
        """Say why a set is to be run; or give the run that did just this."""
        if self.wish.force:
            return "forced"
        made = [run for run in runs if run.status in ("done", "failed-qc")]
        same = [run for run in made if run.record.get("fingerprint") == mark.digest]
        if same:
            if not made_beside(same[0], output):
                return "figures or a page are asked for"
            whole = self.site.is_whole(same[0], chosen, lit)
            return same[0] if whole else "products are missing or changed"
        if made:
            parts: Mapping[str, str] = made[0].record.get("fingerprint_parts") or {}
            changed = mark.differences(parts)
            return f"changed: {', '.join(changed)}" if parts else "changed since an older flatcore"
        return f"failed before ({runs[0].status})" if runs else "new"

    def _runs_of(self, one: FoundSet) -> list[RunRecord]:
        """Give the runs of a set, the latest first; those that failed may not have told their kind."""
        if one.obs_dir not in self._by_night:
            self._by_night[one.obs_dir] = self.runs.records(one.obs_dir) if self.runs.exists() else []
        return [run for run in self._by_night[one.obs_dir] if run.record.get("dprtype", one.kind) in (one.kind, "")]


def base_profile(request: NightRequest, first: FoundFrame) -> Profile:
    """Give the profile before a request's single values are laid over it."""
    if request.instrument is None:
        return profile_for_header(first.header, Path(first.file.path))
    return request.instrument if isinstance(request.instrument, Profile) else load_profile(request.instrument)


def _used(one: FoundSet, settings: Settings) -> list[FoundFrame]:
    """Give the frames that passed their own quality control, if that is asked for."""
    used = [f for f in one.frames if not (settings.input.require_qc and failed_quality_control(f.header))]
    if not used:
        raise InputError(
            f"{one.frames[0].file.path}: QCC_ALL is false here and in all {len(one.frames)} frames; none is left"
        )
    return used


def _failed(runs: list[RunRecord]) -> bool:
    return bool(runs) and runs[0].status in ("error", "interrupted", "killed")


def _records_of(around: CalibrationSnapshot, chosen: tuple[ChosenCalibration, ...]) -> tuple[CalibrationRecord, ...]:
    """Give the records of the chosen files, and no others: a worker cannot but choose the same."""
    files = {(file.keyname, file.fiber, file.path.name, file.sha256) for file in chosen}
    return tuple(r for r in around.held if (r.keyname, r.fiber, r.filename, r.sha256) in files)
