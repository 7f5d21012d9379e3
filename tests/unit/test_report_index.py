"""The index of runs and the trends: which runs count, what is drawn, what the file holds."""

import csv
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from flatcore.caldb import RunLog
from flatcore.report import write_index, write_pages
from flatcore.report.packing import STEPS, unpacked
from flatcore.report.sparkline import sparkline
from flatcore.report.trends import FIGURES, packed_series, series_of
from tests.history import NIGHTS, ORDERS, order, written
from tests.pages import Page


@pytest.fixture
def pids(tmp_path):
    return written(tmp_path)


@pytest.fixture
def runs(tmp_path, pids):
    return RunLog.open(tmp_path).records()


def test_the_latest_run_of_each_night_by_date(runs, pids):
    series = series_of(runs)
    assert [(one.instrument, one.fiber, one.orders) for one in series] == [("SPIRou", "AB", 3), ("SPIRou", "C", 3)]
    points = series[0].points
    assert [point.obs_dir for point in points] == [f"2020-09-0{night + 1}" for night in range(NIGHTS)]
    assert [point.pid for point in points] == [pids[key] for key in (0, 1, 2, "again", 4, 5)]
    assert [point.passed for point in series[1].points] == [True, True, True, True, False, True]


def test_figures_of_orders_and_their_medians(runs):
    (series, _) = series_of(runs)
    by_name = {figure.name: figure for figure in FIGURES}
    rms = series.plane(by_name["rms"])
    assert rms.shape == (ORDERS, NIGHTS)
    assert rms[2, 5] == pytest.approx(order(2, 5)["rms"])
    assert series.plane(by_name["snr"])[1, 3] == pytest.approx(2 * order(1, 3)["snr"])
    assert np.isnan(series.plane(by_name["centre"])[:, 1]).all()
    assert series.medians(by_name["flat_change"]) == [None, *(pytest.approx(0.1 * night) for night in range(1, NIGHTS))]


def test_packed_series_hold_the_values(runs):
    series = series_of(runs)
    one = packed_series(series)["series"][0]
    assert one["times"][1] - one["times"][0] == pytest.approx(86_400_000)
    for figure in FIGURES:
        plane, found = series[0].plane(figure), one["values"][figure.name]
        steps = unpacked(found["data"], ORDERS).astype(float)
        values = np.array(found["low"])[:, None] + (steps - 1) / (STEPS - 1) * np.array(found["span"])[:, None]
        half_a_step = 0.51 * max(found["span"]) / (STEPS - 1)
        np.testing.assert_allclose(np.where(steps == 0, np.nan, values), plane, rtol=0, atol=half_a_step)


def test_the_index_lists_every_run(runs, pids, tmp_path):
    index, _, _ = write_index(runs, tmp_path)
    page = Page(index)
    assert page.column("runs", "identifier") == [run.pid for run in runs]
    statuses = dict(zip(page.column("runs", "identifier"), page.column("runs", "status"), strict=True))
    assert statuses[pids[4]] == "failed-qc" and statuses[pids["error"]] == "error" and statuses[pids[0]] == "done"
    fibers = dict(zip(page.column("runs", "identifier"), page.column("runs", "fibres"), strict=True))
    assert fibers[pids[4]] == "AB C ✗" and fibers[pids[0]] == "AB C" and fibers[pids["error"]] == "–"
    warnings = dict(zip(page.column("runs", "identifier"), page.column("runs", "warnings"), strict=True))
    assert (warnings[pids[2]], warnings[pids[0]]) == ("1", "0")
    assert "9 runs, the latest first: 1 running, 1 error, 6 done, 1 failed-qc." in page.text
    assert len([tag for tag, _ in page.tags if tag == "svg"]) == 6


def test_the_index_leads_to_pages_of_the_run_alone(runs, pids, tmp_path):
    by_pid = {run.pid: run for run in runs}
    for key in (0, 3, "again", "error"):
        write_pages(by_pid[pids[key]], tmp_path)
    index, _, _ = write_index(runs, tmp_path)
    head, *rows = Page(index).tables["runs"]
    there = {row[head.index("identifier")] for row in rows if row[head.index("page")] == "page"}
    # The page of the third night is that of the run that made it again.
    assert there == {pids[0], pids["again"], pids["error"]}
    links = [a["href"] for tag, a in Page(index).tags if tag == "a" and a["href"].startswith("2020")]
    assert sorted(links) == sorted(["2020-09-01/0_pp.html", "2020-09-04/3_pp.html", f"2020-09-06/{pids['error']}.html"])
    assert all((tmp_path / "report" / link).is_file() for link in links)


def test_the_file_has_every_order_of_every_night(runs, pids, tmp_path):
    _, _, path = write_index(runs, tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * NIGHTS * ORDERS
    found = next(r for r in rows if (r["fiber"], r["obs_dir"], r["order"]) == ("C", "2020-09-05", "2"))
    assert found["time_utc"] == "2020-09-04 12:00:00" and found["pid"] == pids[4] and found["fiber_passed"] == "False"
    for figure in FIGURES:
        assert float(found[figure.name]) == order(2, 4)[figure.name]
    assert next(r for r in rows if r["obs_dir"] == "2020-09-02")["centre"] == ""


def test_no_run_at_all(tmp_path):
    index, trends, path = write_index([], tmp_path)
    assert "0 runs" in Page(index).text and "No run has made products yet." in Page(trends).text
    assert len(path.read_text().splitlines()) == 1


def test_names_are_text(tmp_path):
    runs = RunLog.open(tmp_path)
    runs.start(obs_dir="<script>alert(1)</script>", instrument="<img src=x>")
    index, _, _ = write_index(runs.records(), tmp_path)
    page = Page(index)
    assert page.column("runs", "night") == ["<script>alert(1)</script>"]
    assert not any(tag == "img" for tag, _ in page.tags)


class TestSparkline:
    @staticmethod
    def drawn(values):
        root = ET.fromstring(str(sparkline(values, 'a "label" & more')))
        lines = [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in root.iter("polyline")]
        dots = [(float(e.get("cx")), float(e.get("cy"))) for e in root.iter("circle")]
        assert root.get("aria-label") == 'a "label" & more'
        return lines, dots

    def test_rises_from_left_to_right(self):
        ((line,), dots) = self.drawn([1.0, 2.0, 3.0])
        assert line == [(4, 36), (100, 20), (196, 4)] and dots == [(196, 4)]

    def test_gaps(self):
        lines, dots = self.drawn([1.0, 2.0, None, 3.0, None])
        assert len(lines) == 1 and len(lines[0]) == 2 and dots == [(148, 4)]

    def test_constant_and_empty(self):
        assert self.drawn([5.0, 5.0])[1] == [(196, 20)]
        assert self.drawn([]) == ([], [])
