"""What all tables of a profile share: frozen, checked, and explained in one line when they are wrong."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError


class Section(BaseModel):
    """A frozen table of a profile; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
