"""What went into a run: frames, calibrations, settings; and how long each stage took."""

from __future__ import annotations

from typing import Any

from flatcore.changed import changed_profile, changed_settings
from flatcore.report.record import Record, base_name, list_of, mjd_of, short, table_of, time_of
from flatcore.report.tables import Cell, Column, Table, number, text, without_empty
from flatcore.settings import PRESETS


def frames_table(image: Record, record: Record) -> Table:
    """Frames that were used, each held to the combined image, and those that were not."""
    checked = {frame["name"]: frame for frame in list_of(image, "frames")}
    hashes = table_of(record, "input_sha256")
    rows = []
    for name in list_of(image, "inputs"):
        frame = checked.get(name, {})
        words = frame.get("words")
        rows.append((
            text(name),
            text(time_of(frame.get("mjd_mid"))),
            number(frame.get("level"), ".4f"),
            number(frame.get("spread"), ".4f"),
            Cell(words, tone="warn") if words else Cell("used", ""),
            text(short(hashes.get(name))),
        ))  # fmt: skip
    nothing = (text(""), number(None), number(None))
    for frame in list_of(record, "left_out"):
        said = Cell(f"left out: {frame['reason']}", tone="warn")
        rows.append((text(base_name(frame["path"])), *nothing, said, text("")))
    columns = (
        Column("frame"),
        Column("middle (UTC)"),
        Column("level", "of its lit pixels, over the combined image's", numeric=True),
        Column("spread", "largest departure from that level in a part of the image", numeric=True),
        Column("words"),
        Column("sha256", "first digits"),
    )
    return without_empty(Table("frames", "Frames, each held to the combined image", columns, tuple(rows)))


def calibrations_table(image: Record, record: Record) -> Table:
    """Calibration files with their ages, and why each was chosen."""
    night = mjd_of(image)
    rows = []
    for file in list_of(record, "calibrations"):
        mjd = file.get("mjd_mid")
        age = None if mjd is None or night is None else night - mjd
        rows.append((
            text(file["keyname"]),
            text(file["fiber"]),
            text(base_name(file["path"])),
            text(time_of(mjd)),
            number(age, "+.2f"),
            text(file["reason"]),
            text(short(file["sha256"])),
        ))  # fmt: skip
    columns = (
        Column("key"),
        Column("fibre"),
        Column("file"),
        Column("time (UTC)"),
        Column("age [d]", "of the calibration at the middle of the frames; negative ones are younger", numeric=True),
        Column("why"),
        Column("sha256", "first digits"),
    )
    return without_empty(
        Table("calibrations", "Calibrations, their ages, and why each was chosen", columns, tuple(rows))
    )


def settings_table(record: Record) -> Table:
    """List settings that differ from the defaults, and values of the profile that differ from its own."""
    asked = table_of(record, "asked")
    preset = str(asked.get("preset") or "default")
    rows = []
    for name, (value, default) in changed_settings(table_of(record, "settings")).items():
        section, key = name.split(".", 1)
        by_preset = PRESETS.get(preset, {}).get(section, {}).get(key, object()) == value
        origin = f"preset {preset}" if by_preset else "the run's own"
        rows.append((Cell(name), Cell(_written(value)), Cell(_written(default)), Cell(origin)))
    profile = table_of(record, "profile")
    changed = changed_profile(profile, str(asked.get("instrument") or "")) if profile else {}
    for name, (value, default) in (changed or {}).items():
        rows.append((Cell(name), Cell(_written(value)), Cell(_written(default)), Cell("the run's own, of the profile")))
    if changed is None:
        nothing = Cell("not compared: the profile's file is not here any more")
        rows.append((Cell("profile"), Cell(str(profile.get("name", ""))), text(""), nothing))
    columns = (Column("setting"), Column("value"), Column("default or profile's"), Column("by"))
    return Table("settings", "Settings that differ from the defaults and the profile", columns, tuple(rows))


def timings_table(record: Record) -> Table:
    """Seconds of each stage, and their share."""
    seconds = table_of(record, "seconds")
    total = sum(seconds.values())
    rows = [
        (Cell(name), number(spent, ".3f"), number(100 * spent / total if total else None, ".0f"))
        for name, spent in seconds.items()
    ]
    columns = (Column("stage"), Column("time [s]", numeric=True), Column("share [%]", numeric=True))
    return Table("timings", f"Time per stage, {total:.2f} s in all", columns, tuple(rows))


def _written(value: Any) -> str:
    """Write a value as it is set on the command line; None stands for the profile's, or for nothing."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
