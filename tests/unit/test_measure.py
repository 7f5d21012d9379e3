"""A night's images and fibres: what is done aside, in which order, and what ends it."""

import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from flatcore import measure, measure_fibers
from flatcore.clock import Clock
from flatcore.measure_fibers import measured_fibers
from flatcore.recipe import run_night

FIBERS = ("A", "B", "C", "D")


class Work:
    """Stands for the work on a fibre: tells what is done, and in which thread."""

    threads = 2
    fails = None

    def __init__(self, *_):
        Work.extracted_in = {}
        Work.fitted = []
        Work.go_on = threading.Event()

    def windows_of(self, name, _traces):
        assert threading.current_thread() is threading.main_thread()
        return name.lower()

    def extracted(self, name, windows):
        assert windows == name.lower()
        if name == self.fails:
            raise ValueError(f"extracting {name}")
        if name == "C":
            # Only what is cancelled or asked for goes beyond.
            self.go_on.wait(30)
        self.extracted_in[name] = threading.current_thread()
        return name

    def flat_of(self, spectra, windows):
        assert windows == spectra.lower()
        self.fitted.append(spectra)
        if spectra == "B":
            self.go_on.set()
        return spectra


@pytest.fixture
def fibers(monkeypatch):
    """Fibres that are measured with some number of threads."""

    def start(threads=2, fails=None):
        monkeypatch.setattr(measure_fibers, "_Work", type("Some", (Work,), {"threads": threads, "fails": fails}))
        night = SimpleNamespace(lit=FIBERS, clock=Clock())
        return measured_fibers(None, night, None, dict.fromkeys(FIBERS))

    return start


def aside():
    return [thread for thread in threading.enumerate() if thread.name.startswith("flatcore-extract")]


def test_fibers_come_in_their_order_and_are_extracted_aside(fibers):
    assert list(fibers()) == list(FIBERS)
    assert list(Work.extracted_in) == list(FIBERS)
    assert threading.main_thread() not in Work.extracted_in.values()
    assert not aside()


def test_the_next_fiber_is_extracted_while_one_is_fitted(fibers):
    measuring = fibers()
    assert next(measuring) == "A"
    deadline = time.monotonic() + 30
    while "B" not in Work.extracted_in and time.monotonic() < deadline:
        time.sleep(0.001)
    assert "B" in Work.extracted_in and Work.fitted == ["A"]
    Work.go_on.set()
    measuring.close()


def test_a_single_thread_extracts_nothing_ahead(fibers):
    measuring = fibers(threads=1)
    assert next(measuring) == "A"
    assert Work.extracted_in == {"A": threading.main_thread()} and not aside()
    Work.go_on.set()
    assert list(measuring) == ["B", "C", "D"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fiber_that_cannot_be_extracted_ends_the_rest(fibers, threads):
    measuring = fibers(threads, fails="B")
    assert next(measuring) == "A"
    Work.go_on.set()
    with pytest.raises(ValueError, match="extracting B"):
        next(measuring)
    assert Work.fitted == ["A"] and not aside()


def test_what_is_closed_before_its_end_extracts_no_more(fibers):
    measuring = fibers()
    assert next(measuring) == "A"
    # C may be under way, and waits; D has not begun.
    threading.Timer(0.2, Work.go_on.set).start()
    measuring.close()
    assert "D" not in Work.extracted_in and not aside()


def test_products_that_cannot_be_written_end_the_extraction(night, monkeypatch):
    def judged(*_):
        raise RuntimeError("judging")

    monkeypatch.setattr("flatcore.conclude._judged", judged)
    with pytest.raises(RuntimeError, match="judging"):
        run_night("2020-08-31", data_root=night, threads=2)
    assert not aside()
    assert not list((night / "red").rglob("*.fits"))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_is_let_go_before_the_next_is_calibrated(night, monkeypatch, threads):
    calibrate, made = measure.calibrate, []

    def watched(*arguments, **named):
        assert all(image() is None for image in made)
        calibrated = calibrate(*arguments, **named)
        made.append(weakref.ref(calibrated.image))
        return calibrated

    monkeypatch.setattr(measure, "calibrate", watched)
    settings = {"combine": {"frames": False}, "output": {"save": False}}
    result = run_night("2020-08-31", data_root=night, threads=threads, settings=settings)
    assert len(result.images) == len(made) == 4
    assert all(np.isfinite(image.readnoise_e) for image in result.images)
