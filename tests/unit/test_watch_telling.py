"""What a watcher tells others: hooks, monitoring, and how a run's end is understood."""

import json
import logging
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flatcore import locks, writing
from flatcore.errors import InputError, OutputError, UsageError
from flatcore.watch.alone import held_mark, is_marked
from flatcore.watch.hooks import call_hook, split_command
from flatcore.watch.memory import Totals
from flatcore.watch.request import WatchRequest
from flatcore.watch.runner import NightRun, outcome_of
from flatcore.watch.status import SetStatus, Snapshot, StatusFile, as_json, prometheus


def python(code):
    return (sys.executable, "-c", code)


def test_a_hook_gets_json_and_environment(tmp_path):
    code = (
        "import sys, os, json; d = json.load(sys.stdin); open(d['to'], 'w').write(d['x'] + os.environ['FLATCORE_KIND'])"
    )
    told = {"to": str(tmp_path / "out"), "x": "é"}
    assert call_hook(python(code), told, {"FLATCORE_KIND": "FLAT_DARK"}, 10.0) is None
    assert (tmp_path / "out").read_text() == "éFLAT_DARK"


def test_a_hook_that_does_not_listen_is_no_failure():
    assert call_hook(("true",), {"much": "x" * 1_000_000}, {}, 10.0) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (python("raise SystemExit(7)"), "ended with status 7"),
        (("/no/such/program",), "/no/such/program: cannot be started"),
        (("sh", "-c", "sleep 30 & sleep 30"), "took longer than 0.3 s"),
    ],
)
def test_hooks_that_fail(words, said):
    start = time.monotonic()
    assert said in call_hook(words, {}, {}, 0.3 if "sleep" in words[-1] else 10.0)
    assert time.monotonic() - start < 10.0


def test_commands_are_split_as_by_a_shell():
    assert split_command("--on-done", "mail -s 'a night' me; ls") == ("mail", "-s", "a night", "me;", "ls")
    for text in ("", "  ", "mail 'open"):
        with pytest.raises(UsageError, match="--on-done"):
            split_command("--on-done", text)


def test_a_command_must_be_there_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "told"
    script.write_text("#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    given = {
        "told x": "on PATH",
        "bin/told": f"{script}: is not executable",
        "./none": f"{tmp_path / 'none'}: there is no",
    }
    for text, expected in given.items():
        for option, name in (("--on-done", "on_done"), ("--on-fail", "on_fail")):
            with pytest.raises(UsageError) as refused:
                WatchRequest(tmp_path, **{name: split_command(option, text)})
            assert str(refused.value).startswith(f"{option} {text}: ") and expected in str(refused.value)
    script.chmod(0o755)
    for text in ("told x", "bin/told", str(script), "sh -c 'exit 1'"):
        WatchRequest(tmp_path, on_done=split_command("--on-done", text), on_fail=split_command("--on-fail", text))


def snapshot(**more):
    sets = (SetStatus("n1", "FLAT_FLAT", "done", 5, "PID-1"), SetStatus("n2", "DARK_FLAT", "waiting", 2, "quiet"))
    totals = Totals({"done": 3, "failed-qc": 1, "error": 2, "crashed": 0}, 4, 1.7e9, 2.5)
    usual = Snapshot(True, '/data/a "b"\\tmp', "events", 1.7e9 + 1, 1.7e9, True, sets, 7, totals)
    return replace(usual, **more)


SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')


def test_prometheus_text():
    samples, typed, helped = {}, {}, set()
    text = prometheus(snapshot())
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed and kind in ("gauge", "counter")
            typed[name] = kind
        else:
            name, labels, value = SAMPLE.match(line).groups()
            # The samples of a metric follow its head.
            assert name == list(typed)[-1] and name.startswith("flatcore_watch_")
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
            assert (typed[name] == "counter") == name.endswith("_total")
    assert helped == set(typed) == {name for name, _ in samples}
    tree = r'tree="/data/a \"b\"\\tmp"'
    assert samples["flatcore_watch_nights", f'{tree},state="waiting"'] == 1
    assert samples["flatcore_watch_nights", f'{tree},state="failed"'] == 0
    assert samples["flatcore_watch_runs_total", f'{tree},status="error"'] == 2
    assert samples["flatcore_watch_last_success_timestamp_seconds", tree] == 1.7e9
    assert samples["flatcore_watch_up", tree] == 1


def test_sets_that_never_become_whole_are_counted_and_named():
    missing = {"a.fits": "is empty", "b.fits": "is being copied"}
    sets = (
        SetStatus('n "1"', "FLAT_FLAT", "stalled", 1, "no frame is whole", missing),
        SetStatus("n2", "FLAT_FLAT", "done", 5, "PID-1", {"c.fits": "is empty"}),
        SetStatus("n3", "FLAT_FLAT", "done", 5, "PID-2"),
    )
    lines = prometheus(snapshot(sets=sets, tree="/data")).splitlines()
    assert 'flatcore_watch_nights{tree="/data",state="stalled"} 1' in lines
    assert [line for line in lines if line.startswith("flatcore_watch_unfinished_files")] == [
        r'flatcore_watch_unfinished_files{tree="/data",obs_dir="n \"1\"",kind="FLAT_FLAT"} 2',
        'flatcore_watch_unfinished_files{tree="/data",obs_dir="n2",kind="FLAT_FLAT"} 1',
    ]
    assert all(SAMPLE.match(line) for line in lines if not line.startswith("#"))
    assert "unfinished" not in prometheus(snapshot())
    told = json.loads(as_json(snapshot(sets=sets)))
    assert told["nights"]["stalled"] == 1
    assert [found["unfinished"] for found in told["sets"]] == [missing, {"c.fits": "is empty"}, {}]


def test_what_is_not_known_is_left_out():
    text = prometheus(snapshot(looked=None, totals=Totals()))
    assert "last_scan" not in text and "last_success" not in text and "last_run" not in text
    assert "None" not in text


def test_json_status():
    told = json.loads(as_json(snapshot()))
    assert told["nights"] == {"waiting": 1, "stalled": 0, "running": 0, "done": 1, "failed-qc": 0, "failed": 0}
    assert told["sets"][1] == {
        "obs_dir": "n2", "kind": "DARK_FLAT", "state": "waiting", "frames": 2, "why": "quiet", "unfinished": {},
    }  # fmt: skip
    assert told["totals"]["runs"]["done"] == 3


def test_the_status_file_is_written_for_changes_and_the_heartbeat(tmp_path):
    path = tmp_path / "s.prom"
    file = StatusFile(path)

    def writes(**more):
        path.unlink(missing_ok=True)
        file.write(snapshot(**more))
        return path.exists()

    assert writes() and path.stat().st_mode & 0o777 == 0o644
    assert not writes() and not writes(written=1.7e9 + 15)
    assert writes(written=1.7e9 + 17) and writes(sets=()) and writes(up=False, sets=())
    assert list(tmp_path.iterdir()) == [path]
    StatusFile(None).write(snapshot())


def test_a_status_file_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    file = StatusFile(tmp_path / "file" / "s.prom")
    with caplog.at_level(logging.WARNING, "flatcore"):
        for moment in range(5):
            file.write(snapshot(written=1.8e9 + 100 * moment))
        # The same trouble is told once, until it was cured.
        assert caplog.text.count("cannot be written") == 1
        (tmp_path / "file").unlink()
        file.write(snapshot(written=1.9e9))
        assert (tmp_path / "file" / "s.prom").exists()


def test_a_status_file_of_no_form_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"s.txt: expected a name that ends in .prom"):
        WatchRequest(tmp_path, status=tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("status", "out", "said", "ending", "error", "passing"),
    [
        (0, '{"pid": "P"}', "", "done", "", False),
        (4, '{"pid": "P"}', "2020 | x | warning: w", "failed-qc", "", False),
        (3, "", "2020 | flatcore | warning: w\nerror: a.fits: no such file\n", "error", "a.fits: no such file", False),
        (2, "", "error: --set x: unknown\n", "error", "--set x: unknown", False),
        (
            1,
            "",
            "Traceback\n  x\nValueError: odd\nerror: internal error; please …\n",
            "crashed",
            "ValueError: odd",
            True,
        ),
        (-9, "", "", "crashed", "ended by signal 9 (Killed)", True),
        (0, "half", "", "crashed", "printed no JSON: Expecting value: line 1 column 1 (char 0)", True),
        (3, "", "", "error", "ended with status 3, without a word", False),
    ],
)
def test_how_a_run_ended(status, out, said, ending, error, passing):
    outcome = outcome_of(status, out.encode(), said, 1.0)
    assert (outcome.ending, outcome.error, outcome.passing) == (ending, error, passing)
    assert outcome.made == (ending in ("done", "failed-qc"))
    if "warning: w" in said:
        assert any("warning: w" in line for line in outcome.warnings)


def test_what_passes_by_itself_is_known_by_what_flatcore_says(tmp_path):
    errors = []
    red = tmp_path / "red"
    with locks.night_lock(red, 0.0), pytest.raises(InputError) as held, locks.night_lock(red, 0.0):
        pass
    errors.append(held.value)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as refused, writing.replacing(tmp_path / "file" / "x"):
        pass
    errors.append(refused.value)
    for error in errors:
        assert outcome_of(3, b"", f"error: {error}\n", 1.0).passing


def test_whether_a_folder_is_held(tmp_path):
    folder = tmp_path / "red" / "n1"
    assert not locks.is_held(folder)
    with locks.night_lock(folder, 0.0):
        assert locks.is_held(folder)
    assert not locks.is_held(folder)


def test_a_run_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    run = NightRun([], 0.3, tmp_path.parent / "mark")
    monkeypatch.setattr(run, "_command", list(python("import time; time.sleep(60)")))
    outcome = run.run()
    assert outcome.ending == "crashed" and "took longer than 0.3 s" in outcome.error and outcome.exit_status == -15


def test_a_run_that_does_not_end_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr("flatcore.watch.runner.PATIENCE_S", 0.3)
    run = NightRun([], 1.0, tmp_path.parent / "mark")
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    monkeypatch.setattr(run, "_command", list(python(code)))
    assert run.run().exit_status == -signal.SIGKILL


def test_a_run_holds_its_mark_as_long_as_it_lives(tmp_path):
    run = NightRun(["--version"], 30.0, tmp_path / "mark")
    assert not is_marked(tmp_path / "mark")
    with held_mark(tmp_path / "mark"):
        assert is_marked(tmp_path / "mark")
        assert run.run().passing
    with held_mark(tmp_path / "mark") as mark:
        child = subprocess.Popen([*python("import time; time.sleep(60)")], pass_fds=(mark,))
    assert is_marked(tmp_path / "mark")
    child.kill()
    child.wait()
    assert not is_marked(tmp_path / "mark")


def test_a_run_that_is_stopped_before_it_begins(tmp_path):
    run = NightRun(["--version"], 10.0, tmp_path.parent / "mark")
    run.stop()
    assert run.run().ending == "stopped"


def test_a_folder_called_flatcore_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "flatcore").mkdir()
    (tmp_path / "flatcore" / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    outcome = NightRun(["--version"], 30.0, tmp_path.parent / "mark").run()
    assert outcome.exit_status == 0 and outcome.error.startswith("printed no JSON")
    assert Path.cwd() == tmp_path and [path.name for path in tmp_path.iterdir()] == ["flatcore"]
