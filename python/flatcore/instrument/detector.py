"""The detector of a profile: its geometry and electronics, and how raw files are put together to one image."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flatcore.instrument.base import Section

Flip = Literal["none", "x", "y", "both"]
Dispersion = Literal["rows", "columns"]
Units = Literal["adu/s", "adu"]
Span = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]]
# Rows and columns, half-open, counted from 0.
Region = tuple[Span, Span]
Hdu = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
KeywordOrNumber = Annotated[float, Field(gt=0)] | Annotated[str, Field(min_length=1, max_length=8)]


class Amplifier(Section):
    """A part of the detector that is read by an electronics chain of its own.

    Attributes
    ----------
    hdu
        Index or EXTNAME of the HDU that holds it.
    data
        Rows and columns of its pixels in that HDU, half-open, counted from 0.
    overscan
        Rows and columns of its overscan there; its level is subtracted.
    bias
        Level subtracted where there is no overscan; the detector's where None [ADU].
    gain
        Electrons per ADU of this amplifier; the detector's where None.
    at
        Row and column of the assembled image, before its transpose, at which the first pixel of ``data`` (after
        ``flip``) comes to lie.
    flip
        Axes of ``data`` that are reversed.
    """

    hdu: Hdu
    data: Region
    overscan: Region | None = None
    bias: float | None = None
    gain: Annotated[float, Field(gt=0)] | None = None
    at: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    flip: Flip = "none"

    @model_validator(mode="after")
    def _sound(self) -> Amplifier:
        for name, region in (("data", self.data), ("overscan", self.overscan)):
            for what, (start, stop) in zip(("rows", "columns"), region or (), strict=False):
                if stop <= start:
                    raise ValueError(f"{name}: {what} [{start}, {stop}] must be increasing")
        if self.overscan is not None and self.bias is not None:
            raise ValueError("overscan and bias are two ways to say the same: give one of them")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its data section."""
        (top, bottom), (left, right) = self.data
        return bottom - top, right - left

    @property
    def placed(self) -> Region:
        """Rows and columns it covers in the assembled image, before the transpose."""
        (y, x), (rows, columns) = self.at, self.size
        return (y, y + rows), (x, x + columns)


class Detector(Section):
    """Geometry and electronics of the detector.

    Attributes
    ----------
    shape
        Rows and columns of the raw image; of the assembled and transposed one, where it is.
    dispersion
        What the orders run along in the files: rows, or columns, which are transposed to rows.
    units
        Of the pixels in the files: ADU per second, or ADU, which are divided by EXPTIME.
    hdu
        Index or EXTNAME of the image; the first image where None.
    bias
        Level subtracted from every pixel [ADU]; only for ``units = "adu"``.
    amplifiers
        Parts the image is assembled of; none where the file's image is the detector's.
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
    dispersion: Dispersion = "rows"
    units: Units = "adu/s"
    hdu: Hdu | None = None
    bias: float = 0.0
    amplifiers: tuple[Amplifier, ...] = ()
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

    @model_validator(mode="after")
    def _amplifiers_fit(self) -> Detector:
        if self.amplifiers and self.hdu is not None:
            raise ValueError("hdu is for an image that is not assembled: amplifiers name their own")
        if self.bias and self.units == "adu/s":
            raise ValueError(f'bias = {self.bias:g} ADU needs units = "adu": a level per second is not known')
        mosaic = self.mosaic_shape
        for i, amplifier in enumerate(self.amplifiers):
            if self.units == "adu/s" and amplifier.bias:
                raise ValueError(f'amplifiers.{i}: bias = {amplifier.bias:g} ADU needs units = "adu"')
            for what, (start, stop), size in zip(("rows", "columns"), amplifier.placed, mosaic, strict=True):
                if stop > size:
                    raise ValueError(
                        f"amplifiers.{i}: covers {what} [{start}, {stop}] of an image of {mosaic[0]} x {mosaic[1]}"
                    )
        for (i, one), (k, other) in combinations(enumerate(self.amplifiers), 2):
            spans = zip(one.placed, other.placed, strict=True)
            if all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in spans):
                raise ValueError(f"amplifiers.{i} and amplifiers.{k} overlap: {one.placed} and {other.placed}")
        return self

    @property
    def kept_shape(self) -> tuple[int, int]:
        """Rows and columns after the crop."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def mosaic_shape(self) -> tuple[int, int]:
        """Rows and columns of the image as the files have it: before the transpose."""
        return self.shape if self.dispersion == "rows" else (self.shape[1], self.shape[0])
