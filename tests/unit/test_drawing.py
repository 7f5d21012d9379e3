"""Figures are drawn by processes of their own, and whatever becomes of those is a warning that names the figure."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flatcore import figures
from flatcore.cli import main
from flatcore.errors import UsageError
from flatcore.handover import PICKLE, Drawing, load_drawing, save_drawing
from flatcore.request import NightRequest
from flatcore.session import run_session
from flatcore.settings import Settings
from tests.figures import SMALL, only_fiber


@pytest.fixture
def asked(plot_night, tmp_path):
    """Twelve figures of one fibre and its image, asked for."""
    result, _ = plot_night
    result = replace(result, images=(only_fiber(result.images[0]),))
    return Drawing(result, SMALL, Settings(), {}, tmp_path / "plot", 2)


FIGURES = 12


@pytest.fixture
def fault(monkeypatch, tmp_path):
    """Let the processes fail at a figure."""

    def let(how, name=""):
        monkeypatch.setattr(figures, "COMMAND", (str(Path(__file__).parents[1] / "drawing.py"),))
        monkeypatch.setenv("FAULT", f"{how}:{name}")
        monkeypatch.setenv("PIDS", str(tmp_path / "pid"))

    return let


def written(asked):
    return {path.name for path in asked.folder.iterdir()} if asked.folder.exists() else set()


def test_several_processes_share_the_figures(asked, caplog):
    drawn = figures.draw_figures(asked, processes=2)
    assert drawn.problems == ()
    assert len(drawn.paths) == len(set(drawn.paths)) == FIGURES
    assert written(asked) == {path.name for path in drawn.paths}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn.paths)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("raise", "ValueError: no ink"),
        ("kill", "its process was ended by SIGKILL"),
        ("exit", "its process ended with status 3"),
    ],
)
def test_a_figure_that_fails_is_named_and_the_others_are_drawn(asked, fault, caplog, how, why):
    fault(how, "QUALITY")
    drawn = figures.draw_figures(asked, processes=1)
    (image,) = asked.result.images
    name = f"{image.stem}_FLAT_QUALITY_C.png"
    assert drawn.problems == (f"figure {name} could not be drawn: {why}",)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == list(drawn.problems)
    assert len(drawn.paths) == FIGURES - 1
    assert name not in written(asked)


def test_a_disk_that_refuses_a_figure_is_told_with_its_reason(asked, fault):
    fault("nothing")
    (image,) = asked.result.images
    blocked = asked.folder / f"{image.stem}_FLAT_IMAGE_C.png"
    blocked.mkdir(parents=True)
    drawn = figures.draw_figures(asked, processes=2)
    (problem,) = drawn.problems
    assert problem.startswith(f"figure {blocked.name} could not be drawn: {blocked}: cannot be written")
    assert len(drawn.paths) == FIGURES - 1


def test_processes_that_do_not_start_are_told_of_once_and_not_tried_again(asked, fault):
    fault("start")
    begun = time.monotonic()
    drawn = figures.draw_figures(asked, processes=2)
    assert drawn.paths == ()
    assert drawn.problems == ("figures could not be drawn: its process ended with status 1: no start",)
    assert time.monotonic() - begun < 60


def test_a_process_that_hangs_is_ended(asked, fault):
    fault("hang", "QUALITY")
    drawn = figures.draw_figures(asked, processes=1, patience_s=8)
    (problem,) = drawn.problems
    assert problem.endswith("_FLAT_QUALITY_C.png could not be drawn: it took too long")
    assert len(drawn.paths) == FIGURES - 1


def test_an_interrupt_ends_the_processes(asked, fault, tmp_path):
    fault("hang", "FLAT_FRAMES")
    told = tmp_path / "pid"

    def interrupt():
        while not told.exists() or not told.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        figures.draw_figures(asked, processes=1, patience_s=120)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_nothing_is_left_behind(asked, fault, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    fault("kill", "QUALITY")
    figures.draw_figures(asked, processes=1)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_warnings_of_the_processes_are_told_once(asked, fault, caplog):
    fault("nothing")
    profile = SMALL.model_copy(update={"plot": SMALL.plot.model_copy(update={"order": 33})})
    figures.draw_figures(replace(asked, profile=profile), processes=2)
    assert [record.getMessage() for record in caplog.records] == ["plot.order = 33: fibre C has orders 0 to 8"]


def test_a_night_whose_figures_fail_is_as_good_as_without_them(night, fault, capsys):
    def run(*options):
        with pytest.raises(SystemExit) as ended:
            main(["run", "2020-08-31", "--data-root", str(night), "--fiber", "C", "--json", *options])
        told = capsys.readouterr()
        return ended.value.code or 0, json.loads(told.out), told.err

    fault("kill", "QUALITY")
    plain_status, plain, _ = run()
    status, summary, err = run("--plot", "2")
    assert status == plain_status == 0
    (problem,) = summary["figure_problems"]
    assert problem.endswith("FLAT_QUALITY_C.png could not be drawn: its process was ended by SIGKILL")
    assert f"warning: {problem}" in err
    assert len(summary["figures"]) == FIGURES - 1
    assert plain["figure_problems"] == []
    names = [[Path(product["path"]).name for product in each["products"]] for each in (plain, summary)]
    # The straightened order profile is made once.
    assert [name for name in names[0] if "orderps" not in name] == names[1]
    assert all(Path(product["path"]).is_file() for product in summary["products"])


def test_a_run_that_cannot_hand_over_says_so(night, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "save_drawing", full)
    request = NightRequest("2020-08-31", night, fiber="C", assignments=("output.figures=2",))
    outcome = run_session(request)
    assert outcome.passed and outcome.figures == ()
    (problem,) = outcome.summary["figure_problems"]
    assert problem == "figures could not all be drawn: [Errno 28] No space left on device"


def test_what_is_handed_over_comes_back_without_what_no_figure_shows(asked, tmp_path):
    save_drawing(asked, tmp_path)
    found = load_drawing(tmp_path)
    (before,), (after,) = asked.result.images, found.result.images
    np.testing.assert_array_equal(after.straightened, before.straightened)
    np.testing.assert_array_equal(after.calibrated.image, before.calibrated.image)
    assert not after.straightened.flags.writeable
    spectra = after.fibers["C"].spectra
    np.testing.assert_array_equal(spectra.e2ds, before.fibers["C"].spectra.e2ds)
    assert spectra.e2dsll.size == spectra.e2dscc.size == 0
    assert found.profile == asked.profile and found.settings == asked.settings and found.level == 2
    # The pickle itself is small: what is large lies beside it and is mapped.
    assert (tmp_path / PICKLE).stat().st_size < 1_000_000


def test_something_else_handed_over_is_refused(tmp_path):
    (tmp_path / PICKLE).write_bytes(pickle.dumps({"level": 2}))
    with pytest.raises(TypeError, match="holds dict, expected a Drawing"):
        load_drawing(tmp_path)


def test_without_matplotlib_it_is_told_what_to_install(monkeypatch):
    figures.check_matplotlib()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--plot: .*pip install 'flatcore\[plots\]'"):
        figures.check_matplotlib()


def test_the_run_itself_never_imports_matplotlib(night):
    script = (
        "import sys; from pathlib import Path; from flatcore.request import NightRequest\n"
        "from flatcore.session import run_session\n"
        "request = NightRequest('2020-08-31', Path(sys.argv[1]), fiber='C', assignments=('output.figures=2',))\n"
        "outcome = run_session(request)\n"
        "print(len(outcome.figures), outcome.summary['figure_problems'], 'matplotlib' in sys.modules)"
    )
    made = subprocess.run([sys.executable, "-c", script, str(night)], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == f"{FIGURES} [] False"
