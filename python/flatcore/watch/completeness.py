"""When a night's set of frames is complete."""

from __future__ import annotations

from dataclasses import dataclass

from flatcore.errors import UsageError


@dataclass(frozen=True)
class Rules:
    """What makes a set complete: an end marker, a number of frames, or quiet; whichever is first.

    Attributes
    ----------
    quiet_s
        Time without a change of the set [s]; None: quiet alone completes nothing.
    expect
        Number of whole frames; None where it is not known.
    end_marker
        Pattern of a file's name that says that the night is complete; None where there is no such file.
    settle_s
        Time without a change that marker and number want too [s].
    stall_s
        Time without any change after which an unfinished file is no longer waited for [s].
    """

    quiet_s: float | None = 60.0
    expect: int | None = None
    end_marker: str | None = None
    settle_s: float = 2.0
    stall_s: float = 900.0

    def __post_init__(self) -> None:
        """Refuse rules that complete no set."""
        if self.quiet_s is None and self.expect is None and not self.end_marker:
            raise UsageError("--quiet-time off: a set would never be complete; give --expect or --end-marker")


# Quiet that late frames want where quiet alone is to complete nothing [s].
LATE_QUIET_S = 60.0


@dataclass(frozen=True)
class SetView:
    """What is known of a set at a moment.

    Attributes
    ----------
    whole
        Number of its frames that are all there.
    unfinished
        What is not: file names with what is missing, and files that are still being copied.
    quiet_s
        Time since its last change [s].
    marker
        Name of the end marker, if it is there.
    late
        Whether the set was run before, and has changed since.
    """

    whole: int
    unfinished: tuple[str, ...]
    quiet_s: float
    marker: str | None
    late: bool


@dataclass(frozen=True)
class Decision:
    """Whether a set may be run.

    Attributes
    ----------
    complete
        Whether it may.
    why
        What it waits for, or what made it complete.
    again_s
        When to look again, if nothing changes before [s]; None: only a change can complete the set.
    topic
        What kind of thing it waits for: files that are unfinished, quiet, or a signal; or, in vain, files or a
        signal. Nothing new is to be told while this stays.
    """

    complete: bool
    why: str
    again_s: float | None = None
    topic: str = ""

    @property
    def in_vain(self) -> bool:
        """Whether nothing has changed for the stall time, so that only a change can complete the set."""
        return self.topic in ("stalled", "no signal")


def decide(rules: Rules, view: SetView) -> Decision:
    """Decide whether a set is complete.

    Unfinished files hold everything up, until nothing has changed for ``stall_s``. Frames that came after a run want
    quiet, whatever else says that the set is complete: neither marker nor number knows of them.
    """
    if view.unfinished and view.quiet_s < rules.stall_s:
        return Decision(False, f"waiting for {listed(view.unfinished)}", rules.stall_s - view.quiet_s, "files")
    if view.whole == 0:
        return Decision(False, f"no frame is whole: {listed(view.unfinished)}", None, "stalled")
    wants = _wants(rules, view)
    if not wants:
        counted = "" if rules.expect is None else f"{rules.expect} frames"
        marked = "" if rules.end_marker is None else f"the end marker {rules.end_marker}"
        waiting = f"waiting for {' or '.join(filter(None, [counted, marked]))}"
        if view.quiet_s < rules.stall_s:
            return Decision(False, waiting, rules.stall_s - view.quiet_s, "signal")
        return Decision(False, f"{waiting}, and nothing has changed for {rules.stall_s:g} s", None, "no signal")
    needed, why = min(wants)
    if view.quiet_s >= needed:
        without = f", without {listed(view.unfinished)}" if view.unfinished else ""
        return Decision(True, f"{why}{without}")
    return Decision(False, f"waiting for {needed:g} s of quiet", needed - view.quiet_s, "quiet")


def _wants(rules: Rules, view: SetView) -> list[tuple[float, str]]:
    """Give what could complete the set: seconds of quiet, and why."""
    quiet_s = LATE_QUIET_S if view.late and rules.quiet_s is None else rules.quiet_s
    wants = [] if quiet_s is None else [(quiet_s, f"{quiet_s:g} s of quiet")]
    if not view.late:
        if view.marker is not None:
            wants.append((rules.settle_s, f"end marker {view.marker}"))
        if rules.expect is not None and view.whole >= rules.expect:
            wants.append((rules.settle_s, f"number ({rules.expect} expected)"))
    return wants


def listed(names: tuple[str, ...]) -> str:
    """Give the first two names, and how many more there are."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more
