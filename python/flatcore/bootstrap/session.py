"""A bootstrap from frames to registered calibrations."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flatcore import _core
from flatcore.bootstrap.fibers import Localisation, illuminations, localisations
from flatcore.bootstrap.files import Origin, calibration_hdus, rows_of, staging_folder
from flatcore.bootstrap.inputs import Inputs, find_inputs, find_profile
from flatcore.bootstrap.making import content_of
from flatcore.bootstrap.naming import file_name, fingerprint, made_just_so, refuse_foreign
from flatcore.bootstrap.request import BootstrapRequest
from flatcore.bootstrap.results import BootstrapImages, BootstrapResult, Made, Window
from flatcore.bootstrap.settings import BootstrapSettings, bootstrap_settings
from flatcore.bootstrap.workbench import Workbench
from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.keys import PER_FIBER, unix_of_mjd
from flatcore.calibrations import find_named
from flatcore.clock import Clock, Progress
from flatcore.errors import CalibrationError, InputError, UsageError
from flatcore.fitsio import open_image, read_header, sha256_of
from flatcore.frames import find_frames
from flatcore.instrument import Profile
from flatcore.locate import LocateSettings
from flatcore.locks import night_lock
from flatcore.products import new_pid
from flatcore.runlog import log_file
from flatcore.settings import RunSettings, resolve
from flatcore.version import VERSION
from flatcore.writing import FileSet

# Calibrations that are used where a file is named, and are not made then.
NAMEABLE = ("DARKREF", "BADPIX", "LOC")
DARK_MAX_AGE_DAYS = 7.0


@dataclass(frozen=True)
class _Plan:
    """What is to be made, and under which names."""

    request: BootstrapRequest
    database: CalibrationDatabase
    bench: Workbench
    wanted: tuple[tuple[str, str], ...]
    fingerprint: str

    def path(self, keyname: str, fiber: str) -> Path:
        """Where a calibration is kept."""
        frames = [frame.path.name for frame in self.bench.inputs.flats]
        return self.database.store / file_name(self.request.obs_dir, frames, keyname, fiber)


def bootstrap(request: BootstrapRequest, progress: Progress | None = None) -> BootstrapResult:
    """Make and register the calibrations that a run needs, from the night's frames alone.

    Nothing is registered unless everything was made; a bootstrap that was killed leaves nothing but hidden files that
    the next one of the night removes. What an earlier bootstrap made from the same frames in the same way stays as it
    is.

    Parameters
    ----------
    request
        What is asked for.
    progress
        Called with a stage's name and 0 at its start, and with its seconds at its end.

    Raises
    ------
    UsageError
        An unknown step, setting or profile.
    InputError
        Frames that are missing, broken, do not agree, or show no orders; or a file of the store that is not replaced.
    OutputError
        A file or the database cannot be written; nothing is registered.
    """
    pid = new_pid()
    clock = Clock(progress)
    log = log_file(request.data_root, pid, RunSettings(shortname="BOOT")) if request.register else contextlib.nullcontext()
    _core.set_threads(request.threads or 0)
    with log, tempfile.TemporaryDirectory(prefix="flatcore-") as scratch:
        with clock.stage("frames"):
            plan = _planned(request, clock, Path(scratch))
        with _locked(request, plan.database.store):
            if request.register and not request.force and _all_there(plan):
                return _skipped(plan, pid)
            if request.register:
                paths = [plan.path(*need) for need in plan.wanted]
                refuse_foreign(paths, request.obs_dir, request.replace or request.force)
            return _made(plan, pid)


def _planned(request: BootstrapRequest, clock: Clock, scratch: Path) -> _Plan:
    settings, others = bootstrap_settings(request.assignments)
    tracing, others = _locate_settings(others)
    profile = find_profile(request.input_folder, request.names, request.instrument)
    profile, _ = resolve(profile, assignments=others)
    inputs = find_inputs(
        request.input_folder,
        request.names,
        profile,
        level_step=settings.badpix.level_step,
        require_qc=request.require_qc,
        scratch=scratch,
    )
    every = localisations(profile, request.fiber_order)
    lamps, dark = illuminations(every, inputs.main)
    if not lamps:
        raise InputError(f"{request.input_folder}: no flat lights a fibre of {profile.name}")
    database = CalibrationDatabase.open(request.data_root, request.database_url)
    arcs = tuple(open_image(path, scratch) for path in find_frames(request.input_folder, request.arcs)) if request.arcs else ()
    named = _named_files(request)
    bench = Workbench(profile, settings, tracing, inputs, lamps, arcs, named, scratch, clock)
    plan = _Plan(request, database, bench, (), "")
    if "DARKREF" not in named and not inputs.darks and not inputs.biases:
        _take_registered_dark(plan)
    wanted = _wanted(request, [one for lamp in lamps for one in lamp.localisations], named)
    for left_out in inputs.left_out:
        bench.warn(f"{left_out.path.name} is left out: {left_out.reason}")
    for one in dark:
        bench.warn(f"fibre {one.name} gets no light in {', '.join(inputs.main)} frames: nothing is made for it")
    parts = {
        "version": VERSION,
        "profile": profile.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "locate": vars(tracing),
        "order": [one.name for one in every],
        "named": {key: [sha256_of(path) for path in paths] for key, paths in named.items()},
        "reference": request.reference,
    }
    return _Plan(request, database, bench, wanted, fingerprint(inputs, [arc.path for arc in arcs], parts))


def _locate_settings(assignments: Sequence[str]) -> tuple[LocateSettings, list[str]]:
    """Take ``locate.key=value`` texts out of assignments."""
    from dataclasses import fields  # noqa: PLC0415

    from flatcore.settings import parse_assignment  # noqa: PLC0415

    known = {field.name for field in fields(LocateSettings)} - {"fibers"}
    values, others = {}, []
    for text in assignments:
        table = parse_assignment(text).get("locate")
        if table is None:
            others.append(text)
            continue
        for key, value in table.items():
            if key not in known:
                raise UsageError(f"--set {text}: unknown setting; locate has {', '.join(sorted(known))}")
            values[key] = value
    try:
        return LocateSettings(**values), others
    except (TypeError, ValueError) as error:
        raise UsageError(f"--set locate: {error}") from error


def _named_files(request: BootstrapRequest) -> dict[str, tuple[Path, ...]]:
    named = {}
    for key, names in request.calibration_files.items():
        if key not in NAMEABLE:
            raise UsageError(f"a file of key {key} cannot be named: expected one of {', '.join(NAMEABLE)}")
        named[key] = tuple(find_named(name, request.data_root, request.input_folder) for name in names)
    return named


def _take_registered_dark(plan: _Plan) -> None:
    """Use the calibration database's dark where the night has none; one that a bootstrap made of nothing is no dark."""
    bench, database = plan.bench, plan.database
    own = plan.path("DARKREF", "").name
    mjd = float(bench.main.frames[0].header["MJDMID"])
    if database.exists:
        try:
            record = database.choose("DARKREF", "", unix_of_mjd(mjd), max_age_days=DARK_MAX_AGE_DAYS)
            path = database.path_of(record)
        except CalibrationError:
            path = None
        if path is not None and path.name != own and not read_header(path).get("DARKZERO", False):
            bench.named["DARKREF"] = (path,)
            bench.warn(f"no dark frames: {path.name} of the calibration database serves")
            return
    bench.warn("no dark frames and no DARKREF: the dark is taken as zero, and hot pixels are told by the flats alone")


def _wanted(
    request: BootstrapRequest, lit: Sequence[Localisation], named: dict[str, tuple[Path, ...]]
) -> tuple[tuple[str, str], ...]:
    """Keys and fibres to be made: all that is asked for but what is named."""
    wanted = []
    for key in request.keys:
        if key in named:
            continue
        wanted += [(key, one.name) for one in lit] if key in PER_FIBER else [(key, "")]
    if not wanted:
        raise UsageError(f"nothing to be made: {', '.join(named)} are named, and nothing else is asked for")
    return tuple(wanted)


@contextlib.contextmanager
def _locked(request: BootstrapRequest, store: Path) -> Iterator[None]:
    """Hold the night, and clear away what a killed bootstrap of it left."""
    if not request.register:
        yield
        return
    with night_lock(request.output_folder, request.lock_timeout_s):
        staging = staging_folder(store, request.obs_dir)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _all_there(plan: _Plan) -> bool:
    """Tell whether an earlier bootstrap made all of this just so, and it is registered."""
    paths = [plan.path(*need) for need in plan.wanted]
    if not plan.database.exists or not all(made_just_so(path, plan.fingerprint) for path in paths):
        return False
    recorded = {record.filename for record in plan.database.records() if record.used}
    return all(path.name in recorded for path in paths)


def _skipped(plan: _Plan, pid: str) -> BootstrapResult:
    made = tuple(Made(key, fiber, plan.path(key, fiber), "as it was", {}) for key, fiber in plan.wanted)
    return _result(plan, pid, made, skipped=True, registered=True)


def _made(plan: _Plan, pid: str) -> BootstrapResult:
    """Make everything; write it in the background; register it together."""
    request, bench = plan.request, plan.bench
    origin = Origin(request.obs_dir, bench.profile.name, pid, plan.fingerprint)
    staging = staging_folder(plan.database.store, request.obs_dir)
    made, staged = [], []
    with FileSet() as files:
        for key, fiber in plan.wanted:
            content = content_of(key, fiber, bench)
            path = plan.path(key, fiber)
            made.append(Made(key, fiber, path, content.figure, content.numbers))
            if request.register:
                with bench.clock.stage("write"):
                    hdus = calibration_hdus(key, fiber, content.image, content.frames, origin, content.cards)
                    files.add(staging / path.name, hdus)
                staged.append(staging / path.name)
        if request.register:
            with bench.clock.stage("write"):
                files.appear()
    if request.register:
        with bench.clock.stage("database"):
            files_named = _unregistered(plan)
            plan.database.add_files(
                [*staged, *files_named], reference=request.reference, replace=request.replace or request.force
            )
    return _result(plan, pid, tuple(made), skipped=False, registered=request.register)


def _unregistered(plan: _Plan) -> list[Path]:
    """Files that the user named and that a run would not find: they are registered with the rest."""
    known = {record.sha256 for record in plan.database.records()} if plan.database.exists else set()
    return [path for paths in plan.bench.named.values() for path in paths if sha256_of(path) not in known]


def _result(plan: _Plan, pid: str, made: tuple[Made, ...], *, skipped: bool, registered: bool) -> BootstrapResult:
    bench = plan.bench
    inputs: Inputs = bench.inputs
    return BootstrapResult(
        obs_dir=plan.request.obs_dir,
        instrument=bench.profile.name,
        pid=pid,
        made=made,
        skipped=skipped,
        registered=registered,
        windows=() if skipped else _windows(bench),
        warnings=tuple(bench.warnings),
        seconds=bench.clock.seconds,
        frames={"flats": len(inputs.flats), "darks": len(inputs.darks), "biases": len(inputs.biases)},
        images=_images(bench) if plan.request.keep_images and not skipped else None,
    )


def _windows(bench: Workbench) -> tuple[Window, ...]:
    """Extraction windows: the profile's, and those that the light proposes."""
    if "found" not in vars(bench):
        return ()
    columns = bench.profile.detector.kept_shape[1]
    windows = []
    for name, fiber in bench.profile.fibers.items():
        traces = bench.found.get(fiber.localisation)
        if not traces:
            continue
        which = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2), "pair-mean": slice(None)}
        own = traces[which[fiber.traces]]
        below = float(np.median([trace.below for trace in own]))
        above = float(np.median([trace.above for trace in own]))
        if fiber.traces == "pair-mean":
            middle = rows_of(bench.coefficients[fiber.localisation], columns)[:, columns // 2]
            apart = float(np.median(middle[1::2] - middle[0::2])) / 2
            below, above = below + apart, above + apart
        windows.append(Window(name, fiber.below, fiber.above, round(below, 1), round(above, 1)))
    return tuple(windows)


def _images(bench: Workbench) -> BootstrapImages:
    columns = bench.profile.detector.kept_shape[1]
    return BootstrapImages(
        flat=bench.flats[bench.main.dprtype],
        bad=bench.bad,
        unlit=bench.unlit,
        dymap=bench.dymap,
        traces={name: rows_of(own, columns) for name, own in bench.coefficients.items()},
        profiles=bench.profiles,
    )
