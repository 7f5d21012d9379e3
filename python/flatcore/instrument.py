"""Instrument profiles: what a spectrograph is, read from TOML and checked value by value."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flatcore.errors import InputError, UsageError

Flip = Literal["none", "x", "y", "both"]
Traces = Literal["all", "even", "odd", "pair-mean"]
Span = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]]
KeywordOrNumber = Annotated[float, Field(gt=0)] | Annotated[str, Field(min_length=1, max_length=8)]

PACKAGED = ("SPIROU", "NIRPS_HA", "NIRPS_HE", "SMALL")


class _Section(BaseModel):
    """A frozen table of a profile; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Detector(_Section):
    """Geometry and electronics of the detector.

    Attributes
    ----------
    shape
        Raw rows and columns.
    flip
        Axes reversed to bring the raw image into the frame of the calibrations.
    rows, columns
        Kept rows and columns after the flip, half-open.
    gain
        Electrons per ADU, used everywhere in place of the header's.
    saturation
        Header keyword, or the number itself [ADU].
    frame_time
        Header keyword, or the number itself [s].
    """

    shape: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]]
    flip: Flip = "none"
    rows: Span
    columns: Span
    gain: Annotated[float, Field(gt=0)]
    saturation: KeywordOrNumber = "SATURATE"
    frame_time: KeywordOrNumber = "FRMTIME"

    @model_validator(mode="after")
    def _spans_within_shape(self) -> Detector:
        for name, (start, stop), size in (
            ("rows", self.rows, self.shape[0]),
            ("columns", self.columns, self.shape[1]),
        ):
            if not start < stop <= size:
                raise ValueError(f"{name} = [{start}, {stop}] must be increasing and within the raw {size} {name}")
        return self

    @property
    def kept_shape(self) -> tuple[int, int]:
        """Rows and columns after the crop."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


class Input(_Section):
    """How many frames make a night's flat."""

    min_frames: Annotated[int, Field(ge=1)] = 3
    max_frames: Annotated[int, Field(ge=1)] | None = None


class Fiber(_Section):
    """One extracted fibre.

    Attributes
    ----------
    channel
        Which half of DPRTYPE lights it: 0 the first, 1 the second.
    localisation
        The fibre whose LOC and ORDER_PROFILE files serve.
    traces
        Which rows of LOC are its orders: all, even, odd, or the mean of each pair.
    below, above
        Extraction half-widths [pixels].
    """

    channel: Literal[0, 1]
    localisation: Annotated[str, Field(min_length=1)]
    traces: Traces = "all"
    below: Annotated[float, Field(ge=0)]
    above: Annotated[float, Field(ge=0)]


class Background(_Section):
    """Scattered light and global background; lengths in pixels."""

    box: Annotated[int, Field(ge=2)] = 128
    scattered_amplitude: Annotated[float, Field(ge=0)] = 0.0
    kernel_x: Annotated[float, Field(ge=1)] = 1.0
    kernel_y: Annotated[float, Field(ge=1)] = 9.0
    kernel_sigma: Annotated[float, Field(gt=0)] = 3.0


class Blaze(_Section):
    """What a blaze of this instrument is like.

    Attributes
    ----------
    median_width
        Median filter before the fit [pixels].
    cut
        Share of the amplitude under which the blaze is NaN.
    max_misfit
        Share of the amplitude by which a fitted blaze may miss its order, in boxes of a sixteenth of it.
    max_far
        Share of the fitted columns that may lie far off a plain fit.
    max_departure
        Share of the amplitude by which a blaze may stand out from the shape of its neighbours; at least five times
        what is typical of the fibre.
    """

    median_width: Annotated[int, Field(ge=1)] = 25
    cut: Annotated[float, Field(ge=0, lt=1)] = 0.1
    max_misfit: Annotated[float, Field(gt=0)] = 0.03
    max_far: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_departure: Annotated[float, Field(gt=0)] = 0.08


CheckName = Literal[
    "max_rms", "published_rms", "blaze_rung", "usable", "snr_ratio", "flat_change", "blaze_change", "frames"
]


class Qc(_Section):
    """Limits of the quality checks.

    Attributes
    ----------
    max_rms
        Largest rms of the flat over the fitted columns, of any order asked.
    skip_orders
        Orders that are not asked.
    decisive
        The checks with which a fibre fails; the others are recorded, and told as warnings.
    max_published_rms
        Largest rms of the flat as it is published, over all columns with a value; ``max_rms`` where None.
    min_usable
        Least share of an order's columns that have a flat.
    min_snr_ratio
        Least ratio of the measured signal to noise to that of the photons alone.
    max_flat_change
        Largest scatter of the ratio of the flat to the previous night's.
    max_blaze_change
        Largest change of a blaze's shape since the previous night.
    max_frame_change
        Largest departure of a frame's level, or of the light in a part of it, from the combined image; and largest
        drift of the lamp.
    """

    max_rms: Annotated[float, Field(gt=0)] = 0.05
    skip_orders: tuple[Annotated[int, Field(ge=0)], ...] = ()
    decisive: tuple[CheckName, ...] = ("max_rms",)
    max_published_rms: Annotated[float, Field(gt=0)] | None = None
    min_usable: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_snr_ratio: Annotated[float, Field(ge=0)] = 0.1
    max_flat_change: Annotated[float, Field(gt=0)] = 0.02
    max_blaze_change: Annotated[float, Field(gt=0)] = 0.02
    max_frame_change: Annotated[float, Field(gt=0)] = 0.05


class Plot(_Section):
    """The order shown in single-order figures."""

    order: Annotated[int, Field(ge=0)] = 0


class Profile(_Section):
    """A spectrograph as flatcore sees it.

    Attributes
    ----------
    name
        Name in products and messages.
    header
        Keywords and values by which a frame is recognised; INSTRUME = name where none is given.
    """

    name: Annotated[str, Field(min_length=1)]
    header: dict[str, str] = {}
    detector: Detector
    input: Input = Input()
    fibers: Annotated[dict[str, Fiber], Field(min_length=1)]
    background: Background = Background()
    blaze: Blaze = Blaze()
    qc: Qc = Qc()
    plot: Plot = Plot()

    def matches(self, header: Mapping[str, Any]) -> bool:
        """Tell whether a frame's header is this instrument's (values compared without regard to case)."""
        wanted = self.header or {"INSTRUME": self.name}
        return all(_folded(header.get(key, "")) == _folded(value) for key, value in wanted.items())


def load_profile(source: str | Path) -> Profile:
    """Read a profile by packaged name (``SPIROU``) or from a TOML file.

    Parameters
    ----------
    source
        A packaged name, without regard to case, or the path of a TOML file.

    Raises
    ------
    UsageError
        The file is missing, is not TOML, has an unknown key or a value out of range; the message names the key.
    """
    return _validated(_read(source, ()), f"instrument profile {source}")


def profile_with(profile: Profile, changes: Mapping[str, Any], origin: str) -> Profile:
    """Give the profile with some values replaced.

    Parameters
    ----------
    changes
        Nested tables as in the TOML form, for example ``{"blaze": {"cut": 0.2}}``.
    origin
        Where the changes come from, for error messages.

    Raises
    ------
    UsageError
        An unknown key or a value out of range.
    """
    return _validated(_merged(profile.model_dump(mode="json"), changes), origin) if changes else profile


def profile_for_header(header: Mapping[str, Any], path: Path) -> Profile:
    """Choose the packaged profile by a frame's header.

    Raises
    ------
    InputError
        No packaged profile recognises the header.
    """
    for name in PACKAGED:
        profile = load_profile(name)
        if profile.matches(header):
            return profile
    found = ", ".join(f"{key} = {header.get(key, 'missing')!r}" for key in ("INSTRUME", "DRSMODE"))
    raise InputError(
        f"{path}: no packaged instrument profile fits this header ({found}); "
        f"packaged are {', '.join(PACKAGED)}; give one with --instrument FILE"
    )


def _folded(value: object) -> str:
    return str(value).strip().casefold()


def _read(source: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """Read a TOML profile and, below it, the profiles it extends."""
    if str(source).upper() in PACKAGED:
        origin = str(source).upper()
        text = resources.files("flatcore.instruments").joinpath(f"{origin}.toml").read_text()
        folder = Path()
    else:
        path = Path(source)
        if not path.is_file():
            close = difflib.get_close_matches(str(source).upper(), PACKAGED, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; packaged are {', '.join(PACKAGED)}"
            raise UsageError(f"instrument profile {source!s}: no such file{hint}")
        origin, folder = str(path.resolve()), path.parent
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"instrument profile {origin}: cannot be read as text: {error}") from error
    if origin in seen:
        raise UsageError(f"instrument profile {origin}: extends itself by way of {' -> '.join(seen)}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"instrument profile {origin}: not valid TOML: {error}") from error
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise UsageError(f"instrument profile {origin}: extends = {parent!r} must be a name or a path")
    parent_source = parent if parent.upper() in PACKAGED else folder / parent
    return _merged(_read(parent_source, (*seen, origin)), table)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay tables over one another, key by key."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        both_tables = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _validated(table: Mapping[str, Any], origin: str) -> Profile:
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{origin}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Say in one line what a validation found: key, value and what was expected."""
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if part not in ("constrained-float", "constrained-str"))
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key}")
        elif item["type"] == "missing":
            parts.append(f"missing key {key}")
        else:
            found = "" if isinstance(item["input"], Mapping) else f" (found {item['input']!r})"
            parts.append(f"{key or 'value'}: {item['msg']}{found}")
    return "; ".join(parts)
