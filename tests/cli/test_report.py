"""`flatcore report` as a user types it."""

import json
from pathlib import Path

from flatcore.caldb import RunLog
from tests.cli.command import OBS_DIR, Made, refused, run
from tests.pages import Page


def report(capsys, *arguments):
    """Pages that a command wrote."""
    assert run("report", *arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return [Path(line) for line in captured.out.splitlines()]


def test_a_page_is_rebuilt_from_record_and_products(night, capsys):
    made = Made(capsys, night, "--report")
    page = Path(made.summary["pages"][0])
    first = Page(page)
    page.unlink()
    assert report(capsys, OBS_DIR, "--data-root", night) == [page]
    again = Page(page)
    assert again.text == first.text and again.tables == first.tables
    assert [text for text in again.scripts if text.startswith('{"group"')] == [
        text for text in first.scripts if text.startswith('{"group"')
    ]


def test_by_identifier_number_and_directory(night, capsys):
    first, second = (Made(capsys, night, "--fiber", fiber).summary["pid"] for fiber in ("A", "C"))
    for name, pid in ((first, first), ("1", first), (second, second), (OBS_DIR, second)):
        (page,) = report(capsys, name, "--data-root", night)
        assert pid in Page(page).text


def test_the_latest_run_that_made_products(night, capsys):
    pid = Made(capsys, night).summary["pid"]
    refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--darkfile", "nowhere.fits")
    runs = RunLog.open(night)
    assert [record.status for record in runs.records()] == ["error", "done"]
    (page,) = report(capsys, OBS_DIR, "--data-root", night)
    assert pid in Page(page).text
    (page,) = report(capsys, "2", "--data-root", night)
    assert "nowhere.fits: no such file" in Page(page).text


def test_json(night, capsys):
    Made(capsys, night)
    assert run("report", OBS_DIR, "--data-root", night, "--json") == 0
    (page,) = json.loads(capsys.readouterr().out)["pages"]
    assert Path(page).is_file()


def test_no_such_run(night, capsys):
    pid = Made(capsys, night).summary["pid"]
    assert f"has no run nowhere; the latest is {pid}" in refused(capsys, 3, "report", "nowhere", "--data-root", night)
    assert "expected RUN" in refused(capsys, 2, "report", "--data-root", night)
    assert "not both" in refused(capsys, 2, "report", OBS_DIR, "--index", "--data-root", night)


def test_index(night, capsys):
    pid = Made(capsys, night, "--report").summary["pid"]
    index, trends, table = report(capsys, "--index", "--data-root", night)
    assert [path.name for path in (index, trends, table)] == ["index.html", "trends.html", "trends.csv"]
    assert Page(index).column("runs", "identifier") == [pid] and Page(index).column("runs", "page") == ["page"]
    assert len(table.read_text().splitlines()) == 10
