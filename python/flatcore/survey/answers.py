"""What is known of an instrument beforehand, and what its files tell."""

from __future__ import annotations

from dataclasses import dataclass

from flatcore.instrument import Dispersion, Flip, Profile, Units, profile_from_text
from flatcore.survey.files import Frames


@dataclass(frozen=True)
class Answers:
    """What is known of the instrument and need not be found; None is to be found.

    Attributes
    ----------
    name
        Of the instrument.
    fibers
        Names.
    dispersion, units, flip, hdu
        As in a profile's ``[detector]``.
    gain
        Electrons per ADU.
    readnoise_e
        Electrons.
    saturation_adu
        ADU.
    bias_adu
        Level without light where there is no overscan [ADU].
    window
        Half-width of the extraction windows [pixels].
    dprtype
        What the flats are: FLAT_FLAT, FLAT_DARK or DARK_FLAT.
    """

    name: str | None = None
    fibers: tuple[str, ...] = ("A",)
    dispersion: Dispersion | None = None
    units: Units | None = None
    flip: Flip = "none"
    hdu: int | str | None = None
    gain: float | None = None
    readnoise_e: float | None = None
    saturation_adu: float | None = None
    bias_adu: float | None = None
    window: float | None = None
    dprtype: str = "FLAT_FLAT"


@dataclass(frozen=True)
class Finding:
    """One thing found: what, its value in words, and where it comes from."""

    what: str
    value: str
    origin: str


@dataclass(frozen=True)
class Survey:
    """What the files tell.

    Attributes
    ----------
    answers
        All of it, as answers: those given, and those found. None is what could not be found.
    findings
        What was found, in the order of the profile.
    doubts
        What should be looked at.
    frames
        The files by what they show.
    text
        The profile as TOML.
    """

    answers: Answers
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]
    frames: Frames
    text: str

    @property
    def profile(self) -> Profile:
        """The profile that the text is."""
        return profile_from_text(self.text, "drafted profile")
