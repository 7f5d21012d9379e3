"""Noise, errors and bias of flats on simulated nights: the benchmark of docs/extraction.md on two of them."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.truth import __main__ as main
from benchmarks.truth.figures import figures_of, robust_sigma
from benchmarks.truth.nights import COMBINING, EXTRACTING, simulated_pair, spectra_of
from benchmarks.truth.table import COLUMNS, cells, lines, markdown

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return [simulated_pair(tmp_path_factory.mktemp("pairs"), seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def table(pairs):
    """Figures of all ways to extract and combine."""
    ways = product(pairs, COMBINING, EXTRACTING)
    found = lines(one for pair, combining, extracting in ways for one in figures_of(pair, combining, extracting))
    return {(line.extracting, line.combining): line for line in found}


ways = pytest.mark.parametrize(("extracting", "combining"), list(product(EXTRACTING, COMBINING)))


@ways
def test_errors_are_as_large_as_deviations(table, extracting, combining):
    line = table[extracting, combining]
    for pulls in (line.pulls, *line.fiber_pulls.values()):
        assert 0.9 < pulls.deviation < 1.1
        assert 0.64 < pulls.coverage < 0.72


@ways
def test_noise_is_near_the_photon_limit(table, extracting, combining):
    median, most = table[extracting, combining].noise
    if (extracting, combining) == ("optimal", "median"):
        assert median < 1.40 and most < 1.45
    # By means of eight columns: that neighbours share noise does not make it less.
    binned, _ = table[extracting, combining].binned_noise
    assert binned < (1.45 if combining == "median" else 1.25)
    if extracting != "optimal" and combining == "clipped":
        assert median < 1.10 and most < 1.15 and binned < 1.10


@ways
def test_flat_and_blaze_are_what_was_put_in(table, extracting, combining):
    line = table[extracting, combining]
    assert line.flat_bias[0] < 3e-4
    assert line.blaze_bias[0] < 1e-3
    assert line.put_in_bias[0] < 1e-3
    # Other weights, another response: by two in a thousand at most.
    assert line.response_bias[0] < (3e-4 if extracting == "optimal" else 2.5e-3)


@pytest.mark.parametrize("fiber", ["AB", "A", "B", "C"])
def test_spectra_are_the_same_within_noise(pairs, fiber):
    for pair in pairs:
        found = {
            method: spectra_of(pair.noisy["median"], pair.geometry, fiber, pair.noisy["median"], method=method)
            for method in EXTRACTING
        }
        for method in ("horne", "direct"):
            valued = np.isfinite(found[method].e2ds) & np.isfinite(found["optimal"].e2ds)
            with np.errstate(invalid="ignore"):
                level = np.nanmedian(found[method].e2ds / found["optimal"].e2ds)
                apart = (found[method].e2ds / level - found["optimal"].e2ds) / found["optimal"].e2ds_error
            assert level == pytest.approx(1.0, abs=0.01)
            assert robust_sigma(apart[valued]) < 1.0
            assert abs(np.median(apart[valued])) < 0.2


def test_the_table_has_a_line_for_every_way(table):
    text = markdown(list(table.values())).splitlines()
    assert len(text) == 2 + len(EXTRACTING) * len(COMBINING)
    assert all(row.count("|") == len(COLUMNS) + 1 for row in text)
    assert cells(table["horne", "mean"])[:2] == ("horne", "mean")


def test_the_command_writes_its_table_between_the_markers(pairs, monkeypatch, tmp_path):
    monkeypatch.setattr(main, "simulated_pair", lambda *_: pairs[0])
    monkeypatch.setattr(main, "EXTRACTING", ("horne",))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{main.BEGIN}\nstale\n{main.END}\nafter\n")
    done = CliRunner().invoke(main.command, ["--nights", "1", "--page", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert text.count("| horne |") == len(COMBINING)
    assert "1 nights of 5 frames, SMALL" in text


def test_the_page_shows_the_table_and_it_meets_the_targets():
    page = (Path(__file__).parents[2] / "docs" / "extraction.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    shown = {(row[0], row[1]): row for row in rows if len(row) == len(COLUMNS) and row[0] in EXTRACTING}
    assert set(shown) == set(product(EXTRACTING, COMBINING))
    noise = {way: float(row[2].split(",")[0]) for way, row in shown.items()}
    assert noise["optimal", "median"] < 1.40
    assert noise["horne", "clipped"] < 1.10
    assert all(float(row[-1].split(",")[0]) < 1.0 for row in shown.values())
