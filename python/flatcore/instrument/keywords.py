"""Where the header values come from that flatcore needs, for frames that name or have them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from flatcore.instrument.base import Section

Value = StrictBool | float | str


class Source(Section):
    """Where a header value comes from.

    In a profile text stands for ``keyword``, and a number or a boolean for ``value``.

    Attributes
    ----------
    keyword
        The header keyword to take it from; that of a HIERARCH card in full (``HIERARCH ESO DPR TYPE``).
    value
        The value itself.
    factor, offset
        A number is multiplied by the one, then the other is added.
    exposures
        So many exposure times are added to a time; 0.5 makes a start the middle.
    time
        Keyword of the time of day, where ``keyword`` holds the date alone.
    values
        What texts of the header mean: patterns with ``*`` and ``?``, the first that fits, without regard to case.
    otherwise
        Where none fits, or the keyword is missing.
    """

    keyword: Annotated[str, Field(min_length=1, max_length=68)] | None = None
    value: Value | None = None
    factor: float = 1.0
    offset: float = 0.0
    exposures: float = 0.0
    time: str | None = None
    values: dict[str, Value] = Field(default_factory=dict)
    otherwise: Value | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Source:
        if (self.keyword is None) == (self.value is None):
            raise ValueError("expected a keyword or a value, and not both")
        changed = self.values or (self.factor, self.offset, self.exposures, self.time) != (1.0, 0.0, 0.0, None)
        if self.keyword is None and (changed or self.otherwise is not None):
            raise ValueError(
                "a value is taken as it is: factor, offset, exposures, time, values and otherwise need a keyword"
            )
        return self


def _written_out(given: Any) -> Any:
    """Give the long form of a source."""
    if isinstance(given, str):
        return {"keyword": given}
    if given is None or isinstance(given, (Mapping, Source)):
        return given
    return {"value": given}


# By the keyword that flatcore reads.
Keywords = dict[Annotated[str, Field(pattern=r"^[A-Z0-9_-]{1,8}$")], Annotated[Source, BeforeValidator(_written_out)]]
