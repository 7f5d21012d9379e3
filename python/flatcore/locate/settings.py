"""Choices of order tracing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LocateSettings:
    """How orders are found and traced.

    Attributes
    ----------
    fibers
        Traces per order, 1 to 3; None where that is not said: then every strip of light is an order of its own.
    degree
        Of the Chebyshev polynomials.
    threshold
        Least significance of a strip of light, in standard deviations of the light collapsed along the dispersion.
    min_snr
        Least signal to noise per column of a strip at its brightest.
    min_columns
        Least number of columns over which a strip is followed; a sixteenth of the image's where None.
    min_contrast
        Least height of a strip over that of the strips around it: fainter ones are their ghosts.
    merge
        Two peaks are one strip where the light between them stays above this share of the lower one.
    max_width
        Greatest width at half maximum of a strip [pixels]: what is wider is background.
    max_slope
        Steepest slope of a trace, rows per column.
    clip
        Points further from their trace are left out, in standard deviations.
    edge_level
        Share of a profile's height at which its lower and upper edge are measured.
    window_level
        Share of a profile's height down to which the proposed extraction window reaches.
    """

    fibers: int | None = None
    degree: int = 4
    threshold: float = 8.0
    min_snr: float = 2.0
    min_columns: int | None = None
    min_contrast: float = 0.003
    merge: float = 0.7
    max_width: float = 60.0
    max_slope: float = 0.3
    clip: float = 4.0
    edge_level: float = 0.1
    window_level: float = 0.02

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises
        ------
        ValueError
            The message names the setting, its value and what is expected.
        """
        for name, holds, expected in (
            ("fibers", self.fibers is None or self.fibers in (1, 2, 3), "1, 2, 3 or None"),
            ("degree", 1 <= self.degree <= 10, "from 1 to 10"),
            ("threshold", self.threshold > 0, "above 0"),
            ("min_snr", self.min_snr >= 0, "at least 0"),
            ("min_columns", self.min_columns is None or self.min_columns >= 1, "at least 1, or None"),
            ("min_contrast", 0 <= self.min_contrast < 1, "from 0 to below 1"),
            ("merge", 0 < self.merge < 1, "between 0 and 1"),
            ("max_width", self.max_width >= 2, "at least 2"),
            ("max_slope", 0 < self.max_slope <= 0.5, "above 0, at most 0.5"),
            ("clip", self.clip > 0, "above 0"),
            ("edge_level", 0 < self.edge_level < 0.5, "between 0 and 0.5"),
            ("window_level", 0 < self.window_level < 0.5, "between 0 and 0.5"),
        ):
            if not holds:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be {expected}")
