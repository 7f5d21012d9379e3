"""What a survey goes by, and what it has found so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flatcore.errors import UsageError
from flatcore.fitsio import Header
from flatcore.survey.answers import Finding
from flatcore.survey.files import Frames, RawImage
from flatcore.survey.measured import Layout, Measured


@dataclass
class Notes:
    """What the steps have found so far."""

    findings: list[Finding] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def found(self, what: str, value: str, origin: str, *keys: str) -> None:
        """Note a finding; ``keys`` (``table.key``) are the values of the profile that come of it."""
        self.findings.append(Finding(what, value, origin))
        self.origins |= dict.fromkeys(keys, origin)


@dataclass(frozen=True)
class Evidence:
    """What a survey goes by.

    Attributes
    ----------
    frames
        The files.
    header
        Of the first flat.
    images
        Its images.
    layout
        How they make the detector's.
    measured
        What the pixels tell.
    scratch
        Folder for plain copies.
    """

    frames: Frames
    header: Header
    images: tuple[RawImage, ...]
    layout: Layout
    measured: Measured
    scratch: Path

    @property
    def first(self) -> Path:
        """The first flat."""
        return self.frames.flats[0]


def image_in_use(images: Sequence[RawImage], layout: Layout) -> RawImage:
    """Give the image that is the detector's, or the first amplifier's."""
    hdu = layout.amplifiers[0].hdu if layout.amplifiers else layout.hdu
    return images[0] if hdu is None else image_named(images, hdu)


def image_named(images: Sequence[RawImage], hdu: int | str) -> RawImage:
    """Give the image of an HDU, by its index or name."""
    for image in images:
        if hdu in (image.hdu, image.name):
            return image
    told = ", ".join(f"{image.hdu} {image.name}".strip() for image in images)
    raise UsageError(f"--hdu {hdu}: no such image; there are {told}")
