"""The rules by which a set is complete, one by one and together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatcore.errors import UsageError
from flatcore.watch.completeness import LATE_QUIET_S, Rules, SetView, decide


def view(whole=5, unfinished=(), quiet_s=0.0, marker=None, late=False):
    return SetView(whole, tuple(unfinished), quiet_s, marker, late)


def test_quiet():
    rules = Rules(quiet_s=60.0)
    early = decide(rules, view(quiet_s=59.0))
    assert not early.complete and early.why == "waiting for 60 s of quiet" and early.again_s == pytest.approx(1.0)
    assert decide(rules, view(quiet_s=60.0)).complete


def test_number_needs_to_settle_only():
    rules = Rules(quiet_s=600.0, expect=5, settle_s=2.0)
    assert not decide(rules, view(whole=4, quiet_s=599.0)).complete
    assert decide(rules, view(whole=4, quiet_s=599.0)).again_s == pytest.approx(1.0)
    assert not decide(rules, view(whole=5, quiet_s=1.9)).complete
    assert decide(rules, view(whole=5, quiet_s=2.0)).why == "number (5 expected)"
    assert decide(rules, view(whole=6, quiet_s=2.0)).complete
    assert decide(rules, view(whole=4, quiet_s=600.0)).why == "600 s of quiet"


def test_marker_needs_to_settle_only():
    rules = Rules(quiet_s=600.0, end_marker="END*", settle_s=2.0)
    assert not decide(rules, view(quiet_s=1.0, marker="END_OF_NIGHT")).complete
    assert decide(rules, view(quiet_s=2.0, marker="END_OF_NIGHT")).why == "end marker END_OF_NIGHT"
    assert not decide(rules, view(quiet_s=500.0)).complete


def test_without_quiet_time_only_a_signal_completes():
    rules = Rules(quiet_s=None, expect=5, end_marker="END")
    waiting = decide(rules, view(whole=4, quiet_s=899.0))
    assert not waiting.complete and not waiting.in_vain and waiting.again_s == pytest.approx(1.0)
    assert waiting.why == "waiting for 5 frames or the end marker END"
    in_vain = decide(rules, view(whole=4, quiet_s=900.0))
    assert not in_vain.complete and in_vain.in_vain and in_vain.again_s is None
    assert in_vain.why == f"{waiting.why}, and nothing has changed for 900 s"
    assert decide(rules, view(whole=4, quiet_s=3.0, marker="END")).complete


def test_rules_that_complete_nothing_are_refused():
    with pytest.raises(UsageError, match="--quiet-time off"):
        Rules(quiet_s=None)


def test_late_frames_want_quiet_whatever_the_signals_say():
    rules = Rules(quiet_s=60.0, expect=5, end_marker="END")
    assert not decide(rules, view(whole=6, quiet_s=10.0, marker="END", late=True)).complete
    assert decide(rules, view(whole=6, quiet_s=60.0, marker="END", late=True)).complete
    only = Rules(quiet_s=None, expect=5)
    assert not decide(only, view(whole=6, quiet_s=LATE_QUIET_S - 1, late=True)).complete
    assert decide(only, view(whole=6, quiet_s=LATE_QUIET_S, late=True)).complete


def test_unfinished_files_hold_everything_up_until_they_stall():
    rules = Rules(quiet_s=60.0, expect=4, end_marker="END", stall_s=900.0)
    faults = ("a.fits (is empty)", "b.fits (is being copied)", "c", "d")
    waiting = decide(rules, view(unfinished=faults, quiet_s=899.0, marker="END"))
    assert not waiting.complete and waiting.again_s == pytest.approx(1.0)
    assert waiting.why == "waiting for a.fits (is empty), b.fits (is being copied) and 2 more"
    done = decide(rules, view(unfinished=faults[:1], quiet_s=900.0))
    assert done.complete and done.why.endswith("without a.fits (is empty)")
    nothing = decide(rules, view(whole=0, unfinished=faults[:1], quiet_s=1e6))
    assert nothing.in_vain and not nothing.complete and not waiting.in_vain and not done.in_vain


@given(
    quiet=st.floats(0, 2000), whole=st.integers(0, 8), unfinished=st.integers(0, 3), late=st.booleans(),
    marker=st.sampled_from([None, "END"]), expect=st.sampled_from([None, 5]), quiet_s=st.sampled_from([None, 60.0]),
)  # fmt: skip
def test_more_quiet_never_makes_a_set_less_complete(quiet, whole, unfinished, late, marker, expect, quiet_s):
    rules = Rules(quiet_s=quiet_s, expect=expect, end_marker="END")
    names = tuple(f"{i}.fits" for i in range(unfinished))
    now = decide(rules, view(whole, names, quiet, marker, late))
    later = decide(rules, view(whole, names, quiet + 100.0, marker, late))
    assert later.complete or not now.complete
    if not now.complete and now.again_s is not None:
        # Looking again when told to finds something new, so that nobody waits for ever.
        then = decide(rules, view(whole, names, quiet + now.again_s + 1e-6, marker, late))
        assert then.complete or then.topic != now.topic or then.again_s < now.again_s
