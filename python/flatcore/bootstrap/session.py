"""A bootstrap from frames to registered calibrations."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.bootstrap.files import Origin, calibration_hdus, rows_of, staging_folder
from flatcore.bootstrap.inputs import Inputs
from flatcore.bootstrap.making import content_of
from flatcore.bootstrap.naming import made_just_so, refuse_foreign
from flatcore.bootstrap.planning import Plan, planned
from flatcore.bootstrap.request import BootstrapRequest
from flatcore.bootstrap.results import BootstrapImages, BootstrapResult, Made, TracedFiber, Window
from flatcore.bootstrap.workbench import Workbench
from flatcore.clock import Clock, Progress
from flatcore.fitsio import sha256_of
from flatcore.locks import night_lock
from flatcore.products import new_pid
from flatcore.runlog import log_file
from flatcore.settings import RunSettings
from flatcore.writing import FileSet

# Calibrations that are used where a file is named, and are not made then.
NAMEABLE = ("DARKREF", "BADPIX", "LOC")
DARK_MAX_AGE_DAYS = 7.0


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
    log = (
        log_file(request.data_root, pid, RunSettings(shortname="BOOT"))
        if request.register
        else contextlib.nullcontext()
    )
    _core.set_threads(request.threads or 0)
    with log, tempfile.TemporaryDirectory(prefix="flatcore-") as scratch:
        with clock.stage("frames"):
            plan = planned(request, clock, Path(scratch))
        with _locked(request, plan.database.store):
            if request.register and not request.force and _all_there(plan):
                return _skipped(plan, pid)
            if request.register:
                paths = [plan.path(*need) for need in plan.wanted]
                refuse_foreign(paths, request.obs_dir, request.replace or request.force)
            return _made(plan, pid)


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


def _all_there(plan: Plan) -> bool:
    """Tell whether an earlier bootstrap made all of this just so, and it is registered."""
    paths = [plan.path(*need) for need in plan.wanted]
    if not plan.database.exists or not all(made_just_so(path, plan.fingerprint) for path in paths):
        return False
    recorded = {record.filename for record in plan.database.records() if record.used}
    return all(path.name in recorded for path in paths)


def _skipped(plan: Plan, pid: str) -> BootstrapResult:
    made = tuple(Made(key, fiber, plan.path(key, fiber), "as it was", {}) for key, fiber in plan.wanted)
    return _result(plan, pid, made, skipped=True, registered=True)


def _made(plan: Plan, pid: str) -> BootstrapResult:
    """Make everything; write it in the background; register it together."""
    request, bench = plan.request, plan.bench
    origin = Origin(request.obs_dir, bench.light.profile.name, pid, plan.fingerprint)
    staging = staging_folder(plan.database.store, request.obs_dir)
    made, staged = [], []
    with FileSet() as files:
        for key, fiber in plan.wanted:
            content = content_of(key, fiber, bench)
            path = plan.path(key, fiber)
            made.append(Made(key, fiber, path, content.figure, content.numbers))
            if request.register:
                with bench.light.clock.stage("write"):
                    hdus = calibration_hdus(
                        key, fiber, content.image, content.frames, origin, content.cards, content.tables
                    )
                    files.add(staging / path.name, hdus)
                staged.append(staging / path.name)
        if request.register:
            with bench.light.clock.stage("write"):
                files.appear()
    if request.register:
        with bench.light.clock.stage("database"):
            files_named = _unregistered(plan)
            plan.database.add_files(
                [*staged, *files_named], reference=request.reference, replace=request.replace or request.force
            )
    return _result(plan, pid, tuple(made), skipped=False, registered=request.register)


def _unregistered(plan: Plan) -> list[Path]:
    """Files that the user named and that a run would not find: they are registered with the rest."""
    known = {record.sha256 for record in plan.database.records()} if plan.database.exists else set()
    return [path for paths in plan.bench.light.named.values() for path in paths if sha256_of(path) not in known]


def _result(plan: Plan, pid: str, made: tuple[Made, ...], *, skipped: bool, registered: bool) -> BootstrapResult:
    bench = plan.bench
    inputs: Inputs = bench.light.inputs
    return BootstrapResult(
        obs_dir=plan.request.obs_dir,
        instrument=bench.light.profile.name,
        pid=pid,
        made=made,
        skipped=skipped,
        registered=registered,
        windows=() if skipped else _windows(bench),
        warnings=tuple(bench.light.warnings),
        seconds=bench.light.clock.seconds,
        frames={"flats": len(inputs.flats), "darks": len(inputs.darks), "biases": len(inputs.biases)},
        images=_images(bench) if _are_kept(plan) and not skipped else None,
        traced=_traced(bench, plan.request.keep_images),
    )


def _are_kept(plan: Plan) -> bool:
    """Tell whether the images of all steps are kept; tracing alone makes but the flat."""
    return plan.request.keep_images and plan.request.steps != ("locate",)


def _traced(bench: Workbench, keep_images: bool) -> tuple[TracedFiber, ...]:
    """Give the traces, where they were looked for."""
    if "found" not in vars(bench):
        return ()
    lamps = {one.name: lamp.dprtype for lamp in bench.lamps for one in lamp.localisations}
    return tuple(
        TracedFiber(name, tuple(traces), bench.flats[lamps[name]] if keep_images else None)
        for name, traces in bench.found.items()
    )


def _windows(bench: Workbench) -> tuple[Window, ...]:
    """Give extraction windows: the profile's, and those that the light proposes."""
    if "found" not in vars(bench):
        return ()
    columns = bench.light.profile.detector.kept_shape[1]
    windows = []
    for name, fiber in bench.light.profile.fibers.items():
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
    return BootstrapImages(
        flat=bench.flats[bench.light.main.dprtype],
        bad=bench.bad,
        unlit=bench.unlit,
        dymap=bench.shape.dymap,
        traces={name: _followed(bench, name) for name in bench.coefficients},
        profiles=bench.profiles,
    )


def _followed(bench: Workbench, name: str) -> NDArray[np.float64]:
    """Rows of a localisation's traces, NaN where they were not followed."""
    columns = np.arange(bench.light.profile.detector.kept_shape[1])
    rows = rows_of(bench.coefficients[name], columns.size)
    if "LOC" not in bench.light.named:
        for row, trace in zip(rows, bench.found[name], strict=True):
            row[(columns < trace.first) | (columns > trace.last)] = np.nan
    return rows
