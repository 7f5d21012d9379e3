"""What a bootstrap makes, of which frames and how: settled before a pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flatcore.assembly import open_frame
from flatcore.bootstrap.fibers import Localisation, illuminations, localisations
from flatcore.bootstrap.inputs import find_inputs, find_profile
from flatcore.bootstrap.light import Light
from flatcore.bootstrap.naming import file_name, fingerprint
from flatcore.bootstrap.request import BootstrapRequest
from flatcore.bootstrap.settings import bootstrap_settings
from flatcore.bootstrap.workbench import Workbench
from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.keys import PER_FIBER, identify, unix_of_mjd
from flatcore.calibrations import find_named
from flatcore.clock import Clock
from flatcore.errors import CalibrationError, InputError, UsageError
from flatcore.fitsio import read_header, sha256_of
from flatcore.frames import find_frames
from flatcore.locate import LocateSettings
from flatcore.settings import parse_assignment, resolve
from flatcore.version import VERSION

# Calibrations that are used where a file is named, and are not made then.
NAMEABLE = ("DARKREF", "BADPIX", "LOC")
DARK_MAX_AGE_DAYS = 7.0


@dataclass(frozen=True)
class Plan:
    """What is to be made, and under which names."""

    request: BootstrapRequest
    database: CalibrationDatabase
    bench: Workbench
    wanted: tuple[tuple[str, str], ...]
    fingerprint: str

    def path(self, keyname: str, fiber: str) -> Path:
        """Where a calibration is kept."""
        frames = [frame.path.name for frame in self.bench.light.inputs.flats]
        return self.database.store / file_name(self.request.obs_dir, frames, keyname, fiber)


def planned(request: BootstrapRequest, clock: Clock, scratch: Path) -> Plan:
    """Settle instrument, settings, frames and names, and what tells of all of them.

    Raises
    ------
    UsageError, InputError
        As of :func:`flatcore.bootstrap.bootstrap`.
    """
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
    arcs = (
        tuple(open_frame(path, profile, scratch) for path in find_frames(request.input_folder, request.arcs))
        if request.arcs
        else ()
    )
    named = _named_files(request)
    light = Light(profile, inputs, named, scratch, clock)
    bench = Workbench(light, settings, tracing, lamps, arcs, bool(request.fiber_order))
    plan = Plan(request, database, bench, (), "")
    if "DARKREF" not in named and not inputs.darks and not inputs.biases:
        _take_registered_dark(plan)
    wanted = _wanted(request, [one for lamp in lamps for one in lamp.localisations], named)
    for left_out in inputs.left_out:
        light.warn(f"{left_out.path.name} is left out: {left_out.reason}")
    for one in dark:
        light.warn(f"fibre {one.name} gets no light in {', '.join(inputs.main)} frames: nothing is made for it")
    parts = {
        "version": VERSION,
        "profile": profile.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "locate": vars(tracing),
        "order": [one.name for one in every],
        "named": {key: [sha256_of(path) for path in paths] for key, paths in named.items()},
        "reference": request.reference,
    }
    return Plan(request, database, bench, wanted, fingerprint(inputs, [arc.path for arc in arcs], parts))


def _locate_settings(assignments: Sequence[str]) -> tuple[LocateSettings, list[str]]:
    """Take ``locate.key=value`` texts out of assignments."""
    known = {field.name for field in fields(LocateSettings)} - {"fibers"}
    values: dict[str, Any] = {}
    others = []
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
        for path in named[key]:
            found = identify(path, fiber="").keyname if key not in PER_FIBER else identify(path).keyname
            if found != key:
                raise CalibrationError(f"{path}: is of key {found}, expected a {key} file")
    return named


def _take_registered_dark(plan: Plan) -> None:
    """Use the calibration database's dark where the night has none; one that a bootstrap made of nothing is no dark."""
    light, database = plan.bench.light, plan.database
    own = plan.path("DARKREF", "").name
    mjd = float(light.main.frames[0].header["MJDMID"])
    if database.exists:
        try:
            record = database.choose("DARKREF", "", unix_of_mjd(mjd), max_age_days=DARK_MAX_AGE_DAYS)
            path = database.path_of(record)
        except CalibrationError:
            path = None
        if path is not None and path.name != own and not read_header(path).get("DARKZERO", False):
            light.named["DARKREF"] = (path,)
            light.warn(f"no dark frames: {path.name} of the calibration database serves")
            return
    light.warn("no dark frames and no DARKREF: the dark is taken as zero, and hot pixels are told by the flats alone")


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
