"""The order in which nights are measured and concluded, with workers that pretend and finish in any order."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatcore.caldb import CalibrationRecord, CalibrationSnapshot, RunRecord
from flatcore.caldb.keys import DAY_S, unix_of_mjd
from flatcore.errors import OutputError
from flatcore.fingerprint import Fingerprint
from flatcore.nights.batch import Batch, Policy
from flatcore.nights.crew import Crew, LostError
from flatcore.nights.earlier import HandedFlat, Verdict
from flatcore.nights.failure import Failure
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.plan import Task
from flatcore.nights.work import Job, Outcome
from flatcore.request import NightRequest
from flatcore.settings import Settings

BROKEN = Failure("broken", 3)
BUSY = Failure("busy", 3, passing=True)
MAX_AGE_DAYS = 7.0


@dataclass(frozen=True)
class Fate:
    """What becomes of a night: its day, whether it passes, and how its steps fail."""

    day: float
    passes: bool = True
    measuring: str = "works"  # works, breaks, or is lost this many times: lost1, lost2, ...
    concluding: str = "works"


def task_of(number, fate, comparing=False, obs_dir=None):
    name = obs_dir or f"night{number:03d}"
    return Task(
        obs_dir=name,
        kind="FLAT_FLAT",
        request=NightRequest(name, Path("/data")),
        files=(),
        mjd_mid=59000.0 + fate.day,
        fibers=("A",),
        snapshot=CalibrationSnapshot(Path("/data/calib"), "db", ()),
        fingerprint=Fingerprint(()),
        settings=Settings(),
        instrument="X",
        why="new",
        comparing=comparing,
    )


def record_of(keyname, number, fate):
    time = unix_of_mjd(59000.0 + fate.day)
    name = f"{number:03d}_{keyname}"
    return CalibrationRecord(keyname, "A", False, name, "", time, "", "", True, f"sha{number}")


@dataclass
class PretendLedger:
    known: KnownCalibrations
    fates: dict
    runs: list = field(default_factory=list)
    ended: dict = field(default_factory=dict)
    reopened: list = field(default_factory=list)

    def begin(self, task):
        pid = f"PID-{len(self.runs)}"
        self.runs.append((pid, task.obs_dir))
        return RunRecord(len(self.runs), pid, task.obs_dir, "X", "", None, "running", None, "", "", "", "", 1)

    def add(self, task, outcome):
        number, fate = self.fates[task.obs_dir]
        if outcome.passed:
            self.known.learn([record_of("FLAT", number, fate), record_of("BLAZE", number, fate)])
        return ()

    def end(self, outcome, notices):
        self.ended[outcome.pid] = outcome
        return outcome

    def reopen(self, pid):
        del self.ended[pid]
        self.reopened.append(pid)

    def fail(self, pid, task, failure):
        self.ended[pid] = failure

    def interrupt(self, pid, task, exit_status):
        self.ended[pid] = exit_status


@dataclass(eq=False)
class Promise:
    function: str
    arguments: tuple
    done: bool = False
    value: object = None


class PretendCrew(Crew):
    """Finishes what was submitted in an order that chance decides."""

    def __init__(self, size, fates, chance):
        self.size, self._fates, self._chance = size, fates, chance
        self._tries = {}
        self.most_at_work = 0

    def submit(self, function, *arguments, urgent=False):
        return Promise(function.__name__, arguments)

    def wait(self, handles):
        self.most_at_work = max(self.most_at_work, len(handles))
        one = self._chance.choice(handles)
        self._finish(one)
        return [one]

    def fetch(self, handle):
        if isinstance(handle.value, LostError):
            raise handle.value
        return handle.value

    def _finish(self, promise):
        if promise.done:
            return
        given = []
        for argument in promise.arguments:
            if isinstance(argument, Promise):
                self._finish(argument)
            given.append(argument.value if isinstance(argument, Promise) else argument)
        promise.value = getattr(self, f"_{promise.function}")(*given)
        promise.done = True

    def _fails(self, job, step, fate):
        if fate == "breaks":
            return BROKEN
        times = times_of(fate)
        tries = self._tries[job.task.obs_dir, step] = self._tries.get((job.task.obs_dir, step), 0) + 1
        if tries <= times:
            return LostError("killed") if fate.startswith("lost") else BUSY
        return None

    def _measure_night(self, job):
        assert isinstance(job, Job)
        return self._fails(job, "measuring", self._fates[job.task.obs_dir][1].measuring) or job

    def _verdicts_of_night(self, measured):
        if not isinstance(measured, Job):
            return measured
        return (Verdict("A", self._fates[measured.task.obs_dir][1].passes),)

    def _flats_of_night(self, measured):
        number, fate = self._fates[measured.task.obs_dir]
        return (HandedFlat("A", f"{number:03d}_FLAT", unix_of_mjd(59000.0 + fate.day), None, None, ""),)

    def _conclude_night(self, job, earlier, *handed):
        fate = self._fates[job.task.obs_dir][1]
        failure = self._fails(job, "concluding", fate.concluding)
        if failure:
            return failure
        flats = [(r.unixtime, r.filename) for r in earlier if r.keyname == "FLAT"]
        flats += [(flat.unixtime, flat.name) for flats in handed for flat in flats]
        return Outcome(job.pid, fate.passes, {"previous": max(flats, default=(0, None))[1], "warnings": []}, ())


def run_batch(fates, size=3, seed=0, order=None, crews=PretendCrew, ledgers=PretendLedger, **policy):
    """Run a batch; gives crew, ledger, and what each night came to."""
    by_name = {f"night{number:03d}": (number, fate) for number, fate in enumerate(fates)}
    tasks = [task_of(number, fate, policy.get("comparing", False)) for number, fate in enumerate(fates)]
    policy.pop("comparing", None)
    random.Random(seed + 1).shuffle(tasks) if order == "any" else None
    ledger = ledgers(KnownCalibrations(Path("/data/calib"), "db"), by_name)
    crew = crews(size, by_name, random.Random(seed))
    batch = Batch(tasks, crew, ledger, Policy(pause_s=0.0, **policy), threads=1)
    items = {item.task.obs_dir: item for item in batch.run()}
    return crew, ledger, [items[f"night{number:03d}"] for number in range(len(fates))]


def times_of(step):
    """How often a step fails before it works."""
    return int(step[4:]) if step.startswith(("lost", "busy")) else 0


def comes_to_nothing(fate):
    """Whether a night fails for good, or more often than it is tried again."""
    steps = fate.measuring, fate.concluding
    return "breaks" in steps or sum(map(times_of, steps)) > Policy().retries


def one_after_the_other(fates):
    """What each night is held to when the nights are run by time; None where it comes to nothing."""
    held = {}
    for number in sorted(range(len(fates)), key=lambda number: (fates[number].day, number)):
        fate = fates[number]
        if comes_to_nothing(fate):
            continue
        earlier = [
            (fates[other].day, f"{other:03d}_FLAT")
            for other in held
            if fates[other].passes and 0.5 < fate.day - fates[other].day <= MAX_AGE_DAYS
        ]
        held[number] = max(earlier, default=(0, None))[1]
    return held


steps = st.sampled_from(["works"] * 6 + ["breaks", "lost1", "busy2"])
nights = st.lists(
    st.builds(Fate, st.integers(0, 25).map(float), st.booleans(), steps, steps),
    min_size=1,
    max_size=14,
    unique_by=lambda fate: fate.day,
)


@settings(max_examples=300, deadline=None)
@given(nights, st.integers(1, 6), st.integers(0, 10_000), st.sampled_from(["oldest", "any"]), st.booleans())
def test_the_end_is_that_of_one_after_the_other(fates, size, seed, order, comparing):
    _, ledger, items = run_batch(fates, size, seed, order, comparing=comparing)
    expected = one_after_the_other(fates)
    for number, item in enumerate(items):
        assert item.state == ("done" if number in expected else "failed")
        if number in expected:
            assert item.outcome.record["previous"] == expected[number]
    # Every run that began has ended, and no night has two.
    assert {pid for pid, _ in ledger.runs} == set(ledger.ended)
    assert len({name for _, name in ledger.runs}) == len(ledger.runs) == len(fates)


def test_a_night_held_to_flats_that_were_never_written_is_run_again():
    fates = [Fate(0.0), Fate(1.0, concluding="breaks"), Fate(2.0)]
    again = 0
    for seed in range(40):
        _, ledger, items = run_batch(fates, seed=seed)
        assert items[2].outcome.record["previous"] == "000_FLAT"
        again += len(ledger.reopened)
    assert again > 0


def test_passing_failures_are_tried_again_so_often_and_no_more():
    _, _, items = run_batch([Fate(0.0, measuring="lost2"), Fate(1.0, measuring="busy3")], retries=2)
    assert [item.state for item in items] == ["done", "failed"]
    assert [item.attempts for item in items] == [3, 3]
    assert items[1].failure == BUSY
    _, _, items = run_batch([Fate(0.0, measuring="breaks")], retries=2)
    assert items[0].attempts == 1


def test_no_further_night_begins_after_too_many_failures():
    fates = [Fate(float(day), measuring="breaks") for day in range(10)]
    _, ledger, items = run_batch(fates, size=1, max_failures=3)
    assert [item.state for item in items] == ["failed"] * 3 + ["not run"] * 7
    assert len(ledger.runs) == 3


class PromptCrew(PretendCrew):
    """Finishes at once what is submitted, as a process that works alone does, and as fast workers seem to."""

    def submit(self, function, *arguments, urgent=False):
        promise = super().submit(function, *arguments)
        self._finish(promise)
        return promise

    def wait(self, handles):
        return handles


class WatchedLedger(PretendLedger):
    """Counts the nights that have begun and are not recorded as ended."""

    most_open = 0

    def begin(self, task):
        run = super().begin(task)
        self.most_open = max(self.most_open, len(self.runs) - len(self.ended))
        return run


@pytest.mark.parametrize(("size", "most"), [(1, 1), (4, 15)])
def test_what_is_done_does_not_wait_to_be_recorded(size, most):
    fates = [Fate(float(day)) for day in range(60)]
    _, ledger, _ = run_batch(fates, size, crews=PromptCrew, ledgers=WatchedLedger)
    assert len(ledger.ended) == 60
    assert ledger.most_open <= most


def test_a_night_that_waits_to_be_tried_again_ends_when_no_more_begins():
    fates = [Fate(0.0, measuring="busy1"), Fate(1.0, measuring="breaks"), Fate(2.0)]
    for seed in range(20):
        _, ledger, items = run_batch(fates, size=2, seed=seed, max_failures=1)
        assert set(ledger.ended) == {pid for pid, _ in ledger.runs}
        assert items[0].state in ("done", "failed")
        assert items[0].state == "done" or items[0].failure == BUSY


def test_what_cannot_be_brought_here_is_the_failure_of_its_night():
    class Crew(PromptCrew):
        broken = 0

        def fetch(self, handle):
            if handle.function == "conclude_night" and handle.value.record["previous"] == "001_FLAT":
                self.broken += 1
                if self.broken == 1:
                    raise TypeError("cannot be unpickled")
            return super().fetch(handle)

    _, _, items = run_batch([Fate(float(day)) for day in range(4)], crews=Crew)
    assert [item.state for item in items] == ["done", "done", "failed", "done"]
    assert items[2].failure.exit_status == 1 and "unpickled" in items[2].failure.text
    assert items[3].outcome.record["previous"] == "001_FLAT"


def ledger_that_cannot(step, broken):
    """A ledger whose step raises while the condition of its call's number holds."""
    calls = []

    class Ledger(PretendLedger):
        pass

    def step_of(self, *arguments):
        calls.append(arguments)
        if broken(len(calls)):
            raise OutputError("the database is full")
        return getattr(PretendLedger, step)(self, *arguments)

    setattr(Ledger, step, step_of)
    return Ledger


@pytest.mark.parametrize("step", ["begin", "add", "end"])
def test_a_night_that_cannot_be_recorded_fails_and_the_others_finish(step):
    ledgers = ledger_that_cannot(step, lambda call: call == 2)
    _, _, items = run_batch([Fate(float(day)) for day in range(5)], size=1, ledgers=ledgers)
    assert [item.state for item in items] == ["done", "failed", "done", "done", "done"]
    assert items[1].failure == Failure("the database is full", 3)


def test_a_failure_that_cannot_be_recorded_is_reported_all_the_same(caplog):
    ledgers = ledger_that_cannot("fail", lambda call: True)
    _, _, items = run_batch([Fate(0.0), Fate(1.0, measuring="breaks"), Fate(2.0)], ledgers=ledgers)
    assert [item.state for item in items] == ["done", "failed", "done"]
    assert "its end cannot be recorded: the database is full" in caplog.text


def test_a_database_that_is_gone_ends_the_batch():
    ledgers = ledger_that_cannot("begin", lambda call: call > 3)
    with pytest.raises(OutputError, match="full"):
        run_batch([Fate(float(day)) for day in range(50)], size=1, ledgers=ledgers)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_there_is_work_for_all_and_one_more_at_the_door(size):
    crew, _, _ = run_batch([Fate(float(day)) for day in range(20)], size=size)
    assert crew.most_at_work >= size


def test_sets_of_one_night_do_not_write_at_the_same_time():
    fate = Fate(0.0)
    by_name = {"night": (0, fate)}
    tasks = [task_of(0, fate, obs_dir="night"), task_of(0, fate, obs_dir="night")]
    crew = PretendCrew(4, by_name, random.Random(1))
    seen = []
    batch = Batch(
        tasks,
        crew,
        PretendLedger(KnownCalibrations(Path("/data/calib"), "db"), by_name),
        Policy(),
        threads=1,
        tell=lambda item: seen.append((tasks.index(item.task) if tasks[0] is not tasks[1] else 0, item.state)),
    )
    at_work = []
    batch._tell = lambda item: at_work.append(sum(one.state in ("measuring", "concluding") for one in batch.items))
    batch.run()
    assert max(at_work) == 1


def test_an_interrupt_is_recorded_for_all_that_had_begun():
    fates = [Fate(float(day)) for day in range(6)]
    by_name = {f"night{number:03d}": (number, fate) for number, fate in enumerate(fates)}
    ledger = PretendLedger(KnownCalibrations(Path("/data/calib"), "db"), by_name)
    crew = PretendCrew(3, by_name, random.Random(0))
    batch = Batch([task_of(n, fate) for n, fate in enumerate(fates)], crew, ledger, Policy(), threads=1)
    waits = []

    def interrupted(handles):
        waits.append(handles)
        if len(waits) == 3:
            raise KeyboardInterrupt
        return PretendCrew.wait(crew, handles)

    crew.wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        batch.run()
    assert set(ledger.ended) == {pid for pid, _ in ledger.runs}
    assert 130 in ledger.ended.values()


def test_half_a_day_is_the_same_night():
    assert DAY_S == 86_400.0
    _, _, items = run_batch([Fate(0.0), Fate(0.4), Fate(1.0)])
    assert [item.outcome.record["previous"] for item in items] == [None, None, "001_FLAT"]
