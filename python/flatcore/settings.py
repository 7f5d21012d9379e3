"""One run's choices, and how presets and single settings change them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flatcore.errors import UsageError
from flatcore.instrument import Flip, Profile, explain, profile_with

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]
# What FITS headers hold: printable ASCII, on one card.
Name = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=60)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSettings(_Section):
    """``require_qc``: drop frames whose QCC_ALL is false."""

    require_qc: bool = True


class CombineSettings(_Section):
    """How frames become one.

    Attributes
    ----------
    frames
        False: every frame gives products of its own.
    method
        median, mean, or clipped: the mean of the values within ``clip_sigma`` of the median.
    """

    frames: bool = True
    method: Literal["median", "mean", "clipped"] = "median"
    clip_sigma: Positive = 5.0


class CalibrateSettings(_Section):
    """Which calibration steps are done.

    Attributes
    ----------
    flip
        Axes reversed; the profile's where None.
    hot_threshold
        Distance from the smoothed image, in local scales, beyond which a pixel is hot.
    background_passes
        Number of times the global background is measured on what is left.
    """

    bounds: bool = True
    dark: bool = True
    flip: Flip | None = None
    resize: bool = True
    badpix: bool = True
    background: bool = True
    background_passes: Annotated[int, Field(ge=1)] = 5
    hotpixels: bool = True
    hot_threshold: Positive = 10.0


class ExtractSettings(_Section):
    """How orders are extracted.

    Attributes
    ----------
    method
        optimal: weights are the order profile; horne: profile over variance (Horne 1986, PASP 98, 609); direct: such
        weights on the pixels before straightening.
    rejection
        Distance from the scaled profile, in median distances of the column, beyond which a pixel is left out. For horne
        and direct distances are in standard deviations, and their median counts as no less than that of pure noise.
    narrow_window
        Windows no wider than this are too narrow to tell outliers from the profile: nothing is left out [pixels].
    saturation_adu
        Mean level of a summed frame above which an order is flagged [ADU].
    fluxunits
        Units of E2DS-like products.
    """

    method: Literal["optimal", "horne", "direct"] = "optimal"
    rejection: Positive = 10.0
    narrow_window: Share = 10.0
    saturation_adu: Positive = 50000.0
    fluxunits: Literal["e-", "ADU/s"] = "e-"


class BlazeSettings(_Section):
    """How the blaze is fitted.

    Attributes
    ----------
    cubic
        Fit the cubic term C; else it stays 0.
    low, high
        Pixels are fitted between these multiples of the order's 95th percentile.
    weights
        equal: all fitted columns weigh the same; noise: by their photon and read noise.
    loss
        linear: plain least squares; soft_l1: robust against dips and spikes; auto: plain, and robust where that misses
        the order.
    fit_ends
        Fit the ends of an order too, where the median filter has columns on one side only, and the columns whose flux
        falls because part of their window is off the detector.
    prediction
        How an order's shape follows from the others: polynomial in the order, or grating, where the argument of the
        sinc^2 goes with the order number.
    model
        order: every order by itself; global: all orders by one model of grating and lamp, fitted jointly; faint-global:
        that for orders too faint alone, and for those that no own sinc^2 describes.
    faint_snr
        Signal to noise of a column, where the order is bright, below which an order is too faint alone.
    last_rung
        The last description of a blaze that is accepted: full, no-cubic, no-quadratic, predicted, spline.
    """

    cubic: bool = True
    low: Share = 0.05
    high: Positive = 2.0
    weights: Literal["equal", "noise"] = "equal"
    loss: Literal["auto", "linear", "soft_l1"] = "auto"
    fit_ends: bool = False
    prediction: Literal["polynomial", "grating"] = "polynomial"
    model: Literal["order", "faint-global", "global"] = "order"
    faint_snr: Positive = 5.0
    last_rung: Literal["full", "no-cubic", "no-quadratic", "predicted", "spline"] = "spline"


class FlatSettings(_Section):
    """How the flat is masked, and whether its slow part is divided out.

    Attributes
    ----------
    sigma_cut, limit
        A pixel is masked where the flat is further from 1 than ``sigma_cut`` times its rms, or than ``limit``.
    divide_slow_part, slow_width
        Divide the flat by its low-pass of ``slow_width`` pixels, after masks and rms.
    """

    sigma_cut: Positive = 10.0
    limit: Positive = 0.2
    divide_slow_part: bool = False
    slow_width: Annotated[int, Field(ge=4)] = 501


class CalibrationSettings(_Section):
    """How calibrations are chosen by time: ``choice``, and the greatest age in days."""

    choice: Literal["closest", "older", "newer"] = "closest"
    max_age_days: Positive = 7.0


class OutputSettings(_Section):
    """What is written.

    Attributes
    ----------
    save
        Anything at all.
    database
        Flats and blazes that pass, to the calibration database.
    reference
        As reference calibrations; failing quality control is an error then.
    background
        The DEBUG_BACK product.
    figures
        0 none, 1 shown interactively, 2 saved, 3 and 4 saved with more detail.
    report
        A page that explains the run.
    debug
        0 nothing more; 1 the log tells every stage; from 2 on intermediate arrays are kept.
    """

    save: bool = True
    database: bool = True
    reference: bool = False
    background: bool = False
    figures: Annotated[int, Field(ge=0, le=4)] = 0
    report: bool = False
    debug: Annotated[int, Field(ge=0)] = 0


class RunSettings(_Section):
    """How the run calls itself in logs, headers and records; ``parallel``: one of several at once, without display."""

    program: Annotated[Name, Field(min_length=1)] = "flatcore"
    shortname: Name = "FF"
    recipe_kind: Name = ""
    parallel: bool = False


class Settings(_Section):
    """All choices of one run; frozen."""

    input: InputSettings = InputSettings()
    combine: CombineSettings = CombineSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    extract: ExtractSettings = ExtractSettings()
    blaze: BlazeSettings = BlazeSettings()
    flat: FlatSettings = FlatSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    output: OutputSettings = OutputSettings()
    run: RunSettings = RunSettings()


Changes = Mapping[str, Mapping[str, Any]]

PRESETS: dict[str, Changes] = {
    "default": {},
    "apero": {
        "combine": {"method": "mean"},
        "blaze": {"cubic": False, "fit_ends": True},
        "flat": {"divide_slow_part": True},
    },
}


def parse_assignment(text: str) -> dict[str, dict[str, Any]]:
    """Read ``section.key=value`` into nested tables; the value is TOML, or else text.

    ``True`` and ``False`` are taken as TOML's ``true`` and ``false``.

    Raises
    ------
    UsageError
        The text is not of that form.
    """
    name, equals, raw = text.partition("=")
    parts = [part.strip() for part in name.split(".")]
    if not equals or len(parts) < 2 or not all(parts):
        raise UsageError(f"--set {text}: expected section.key=value, for example blaze.cut=0.2")
    raw = raw.strip()
    try:
        value = tomllib.loads(f"value = {raw.lower() if raw in ('True', 'False') else raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    nested: Any = value
    for part in reversed(parts):
        nested = {part: nested}
    tables: dict[str, dict[str, Any]] = nested
    return tables


def resolve(
    profile: Profile, preset: str = "default", changes: Iterable[Changes] = (), assignments: Iterable[str] = ()
) -> tuple[Profile, Settings]:
    """Lay preset, options and single assignments over the defaults, each winning over the ones before.

    Parameters
    ----------
    profile
        The instrument's profile.
    preset
        ``default`` or ``apero``; sets defaults only.
    changes
        Nested tables of settings from named options.
    assignments
        ``section.key=value`` texts; they may name a setting or a value of the profile.

    Returns
    -------
    profile, settings
        As the run uses them.

    Raises
    ------
    UsageError
        An unknown preset, section or key, or a value out of range; the message names it.
    """
    assignments = list(assignments)
    settings = run_settings(preset, changes, assignments)
    for text in assignments:
        for section, table in parse_assignment(text).items():
            if _is_setting(section, table):
                continue
            if _is_profile_value(profile, section, table):
                profile = profile_with(profile, {section: table}, f"--set {text}")
            else:
                raise UsageError(f"--set {text}: unknown setting{_closest(profile, section, table)}")
    return profile, settings


def run_settings(preset: str, changes: Iterable[Changes], assignments: Iterable[str]) -> Settings:
    """Give a run's settings before its instrument is known; assignments to the profile are left to :func:`resolve`.

    Raises
    ------
    UsageError
        An unknown preset, or a value out of range.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: unknown; expected one of {', '.join(PRESETS)}")
    tables: dict[str, dict[str, Any]] = {}
    for change in (PRESETS[preset], *changes):
        _lay(tables, change)
    for text in assignments:
        for section, table in parse_assignment(text).items():
            if _is_setting(section, table):
                _lay(tables, {section: table})
    return _validated(tables)


def _validated(tables: Changes) -> Settings:
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        raise UsageError(f"settings: {explain(error)}") from error


def _lay(tables: dict[str, dict[str, Any]], changes: Changes) -> None:
    for section, table in changes.items():
        tables.setdefault(section, {}).update(table)


def _section_fields(section: str) -> set[str]:
    field = Settings.model_fields.get(section)
    return set(type(field.default).model_fields) if field is not None else set()


def _is_setting(section: str, table: Mapping[str, Any]) -> bool:
    return set(table) <= _section_fields(section)


def _is_profile_value(profile: Profile, section: str, table: Mapping[str, Any]) -> bool:
    values: Any = profile.model_dump().get(section)
    if isinstance(values, dict) and section == "fibers":
        return all(isinstance(t, dict) and name in values and set(t) <= set(values[name]) for name, t in table.items())
    return isinstance(values, dict) and set(table) <= set(values)


def _closest(profile: Profile, section: str, table: Mapping[str, Any]) -> str:
    """Name the known setting that looks most like the unknown one."""
    known = [f"{name}.{key}" for name in Settings.model_fields for key in sorted(_section_fields(name))]
    for name, values in profile.model_dump().items():
        if isinstance(values, dict):
            known += [f"{name}.{key}" for key in values]
    close = difflib.get_close_matches(f"{section}.{next(iter(table))}", known, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else f"; sections are {', '.join(Settings.model_fields)}"
