"""What the benchmarks time on both sides is the same work; nothing is timed here."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import steps, twins
from benchmarks.agreement import compare
from benchmarks.bench import Detail, Row
from benchmarks.measure import best_of, race, read_buffer, read_once, uneven
from benchmarks.report import BEGIN, END, Report, save_json, save_markdown
from benchmarks.rows.frames import combined
from benchmarks.rows.spectra import as_good, as_the_twin
from flatcore import _core
from flatcore.blaze import fit_orders
from flatcore.calibrate import subtract_background
from flatcore.straighten import straighten

ROOT = Path(__file__).parents[2]
FLOOR_E = 100.0


@pytest.fixture(scope="module")
def night(small_night):
    return steps.steps_of(small_night)


def test_median(small_night):
    paths = sorted((small_night / "tmp").rglob("*.fits"))
    agreement = compare(combined(paths), twins.median_of_frames(twins.read_stack(paths)), 1e-6)
    assert agreement.off == 0


def test_background(night):
    back = night.profile.background
    scattered = back.scattered_amplitude, back.kernel_y, back.kernel_x, back.kernel_sigma
    assert back.scattered_amplitude > 0
    unlit = night.calibrations.unlit
    expected = twins.subtract_background(night.electrons, unlit != 0, back.box, scattered)
    found = subtract_background(night.electrons, unlit, back).corrected
    assert np.isnan(found).any()
    assert compare(found, expected, 1e-5, floor=FLOOR_E).off == 0


def test_hot_pixels(night):
    bad = night.calibrations.bad
    expected = twins.repair_hot_pixels(night.corrected, bad)
    found = _core.repair_hot_pixels(night.corrected, bad, 10.0)
    assert (found != night.corrected).sum() > 100
    assert compare(found, expected, 1e-5, floor=FLOOR_E).holds


def test_straightening(night):
    transform = night.transform
    expected = twins.straighten(
        night.calibrated, twins.source_positions(transform.linear, transform.dxmap, transform.dymap)
    )
    assert compare(straighten(night.calibrated, transform), expected, 1e-5, floor=FLOOR_E).off == 0


@pytest.mark.parametrize("name", ["AB", "C"])
def test_extraction(night, name):
    profile = night.straight_profiles[night.profile.fibers[name].localisation]
    arguments = night.straight, profile, night.windows[name], night.threshold(name)
    found, (e2ds, e2dsll, e2dscc) = night.extracted(name), twins.extract_fiber(*arguments)
    assert compare(found.e2ds, e2ds, 1e-5, floor=1.0).off == 0
    assert compare(found.e2dsll, e2dsll, 1e-5, floor=1.0).off == 0
    np.testing.assert_array_equal(found.e2dscc, e2dscc)
    assert compare(twins.extract_by_column(*arguments), e2ds, 1e-9).off == 0


def test_blaze(night):
    e2ds = night.extracted("AB").e2ds[3:6]
    blaze = night.profile.blaze
    found = fit_orders(e2ds, *as_the_twin(blaze, night.settings.blaze))
    expected = twins.fit_orders(e2ds, blaze.median_width, blaze.cut, night.settings.blaze.cubic)
    assert all(as_good(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


class TestAgreement:
    def test_counts_what_is_off(self):
        agreement = compare([1.0, np.nan, 3.0, np.nan], [1.0, np.nan, 3.1, 4.0], 1e-3)
        assert (agreement.off, agreement.total, agreement.holds) == (2, 4, False)
        assert "all but 2 of 4" in str(agreement)

    def test_small_values_are_measured_by_the_floor(self):
        assert compare([1e-9], [2e-9], 1e-6).off == 1
        assert compare([1e-9], [2e-9], 1e-6, floor=1.0).off == 0

    def test_infinities(self):
        assert compare([np.inf, 1.0], [np.inf, np.inf], 1e-6).off == 1


class TestReport:
    same, other = compare([1.0], [1.0], 1e-6), compare([1.0], [2.0], 1e-6)

    def test_verdicts(self):
        assert Row("work", "twin", 1.0, 6.0, 5.0).met is True
        assert Row("work", "twin", 1.0, 4.0, 5.0).met is False
        assert Row("work", "copy", 2.0, 1.0, 3.0, faster=False).met is True
        assert Row("work", "copy", 4.0, 1.0, 3.0, faster=False).met is False
        assert Row("work", "twin", 1.0, 6.0).met is None
        assert Row("work", "twin", 1.0, 6.0, 5.0, agreement=self.other).met is False

    def test_saved(self, tmp_path):
        rows = [Row("work", "twin", 0.5, 6.0, 5.0, agreement=self.same), Row("w", "t", 1.0, 6.0, agreement=self.other)]
        report = Report(rows, [Detail("More", ["a|b"], [["1"]])], 2, "a machine")
        page = tmp_path / "page.md"
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        save_markdown(report, page)
        text = page.read_text()
        assert text.startswith(f"before\n{BEGIN}\n")
        assert text.endswith(f"{END}\nafter\n")
        assert "old" not in text
        assert "| work | 500 ms | twin: 6.00 s | 12.00 | at least 5 | yes |" in text
        assert "differs" in text
        save_json(report, tmp_path / "numbers.json")
        assert json.loads((tmp_path / "numbers.json").read_text())["rows"][0]["ratio"] == 12.0


def test_a_race_runs_in_turn_and_keeps_to_the_budget():
    calls = []
    race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"]
    calls.clear()
    race({"a": lambda: calls.append("a")}, 5, budget_s=0.0)
    assert calls == ["a"]


def test_a_best_round_far_from_the_others_is_told():
    rounds = {"reading": [0.56, 0.16, 0.55, 0.48, 0.61], "flatcore": [2.8, 2.9, 3.4]}
    assert best_of(rounds) == {"reading": 0.16, "flatcore": 2.8}
    (remark,) = uneven(rounds)
    assert remark.startswith("reading took 0.160 s at best, 0.550 s in the median of 5 rounds")


def test_reading_is_of_every_byte(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").write_bytes(bytes(2000))
    assert read_once([tmp_path / "a", tmp_path / "b"], read_buffer()) == 3000


def test_the_buffer_begins_with_a_page():
    assert read_buffer().ctypes.data % mmap.PAGESIZE == 0


def test_the_names_of_the_rows_are_checked():
    command = [sys.executable, "-m", "benchmarks", "--only", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "expected some of median" in done.stderr
