"""Orders found in images of which nothing else is known."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.geometries import HEADINGS, markdown, save_markdown, trace_scene
from benchmarks.scenes import Geometry, draw_geometry, draw_scene
from flatcore.locate import LocateSettings, locate

# Not the seeds that the published table is of, nor any that the method was made on.
SEEDS = range(900, 912)

PLAIN = Geometry(
    seed=6,
    shape=(460, 640),
    orders=9,
    fibers=1,
    spacing=38.0,
    gap=38.0,
    fwhm=6.0,
    profile="gaussian",
    tilt=0.03,
    sag=8.0,
    snr=80.0,
    background=0.0,
    vignetting=0.0,
    bad_columns=0,
)


@pytest.fixture(scope="module")
def plain():
    scene = draw_scene(PLAIN)
    return scene, locate(scene.image)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_geometries(seed):
    scene = draw_scene(draw_geometry(seed, largest=1024))
    outcome = trace_scene(scene)
    assert outcome.found.all()
    assert not (outcome.false > 20).any()
    assert outcome.paired == outcome.matched


def test_traces_are_right_and_their_errors_are_told(plain):
    scene, located = plain
    assert len(located.traces) == 9
    rows = located.rows()
    away = np.where(scene.lit, rows - scene.centres, 0.0)
    rms = np.sqrt((away**2).sum(axis=1) / scene.lit.sum(axis=1))
    assert rms.max() < 0.05
    told = np.array([trace.error for trace in located.traces])
    assert (rms < 5 * told + 0.02).all()
    assert np.all(np.diff(rows[:, 320]) > 0)
    assert located.coefficients.shape == (9, 5)
    assert [trace.order for trace in located.traces] == list(range(9))
    assert located.spacing == pytest.approx(np.median(np.diff(scene.centres[:, 320])), rel=0.02)


def test_widths_edges_windows_and_signal(plain):
    scene, located = plain
    # Pixels and the line between them widen the light.
    broad = np.sqrt(6.0**2 + 2.355**2 * (1 / 12 + 1 / 6))
    for trace, snr in zip(located.traces, scene.peak_snr, strict=True):
        assert trace.fwhm == pytest.approx(broad, rel=0.08)
        # A Gaussian falls to a tenth at 0.911 widths at half maximum, and to a fiftieth at 1.188.
        assert trace.upper == pytest.approx(0.911 * broad, rel=0.1)
        assert trace.lower == pytest.approx(-0.911 * broad, rel=0.1)
        assert 1.0 * broad < trace.above < 1.7 * broad
        assert 1.0 * broad < trace.below < 1.7 * broad
        assert trace.peak_snr == pytest.approx(snr, rel=0.25)
        assert trace.complete
        assert trace.points > 60


def test_a_bad_mask_and_columns_without_value_change_little(plain):
    scene, located = plain
    image = scene.image.copy()
    bad = np.zeros(image.shape, bool)
    bad[:, 300:304] = True
    bad[np.random.default_rng(2).random(image.shape) < 0.01] = True
    image[bad] = 1e6
    image[:, 100:130] = np.nan
    again = locate(image, bad=bad)
    assert len(again.traces) == 9
    away = np.where(scene.lit, again.rows() - located.rows(), 0.0)
    assert np.abs(away).max() < 0.15


def test_an_order_that_runs_off_an_edge_is_kept():
    # Of the lowest order only the left half is on the detector.
    scene = draw_scene(replace(PLAIN, tilt=0.09, sag=0.0, snr=150.0))
    rows = np.flatnonzero(scene.centres[0] > 0)
    image = scene.image[round(float(scene.centres[0, 320])) :]
    located = locate(image)
    first = located.traces[0]
    assert rows.size
    assert "edge" in first.ends
    assert not first.complete
    truth = scene.centres - round(float(scene.centres[0, 320]))
    seen = slice(first.first, first.last + 1)
    nearest = np.abs(truth[:, seen] - located.rows()[0, seen]).mean(axis=1).min()
    assert nearest < 0.2


def test_a_dark_order_shifts_nothing():
    scene = draw_scene(replace(PLAIN, fibers=2, gap=12.0, fwhm=4.0, orders=8))
    image = scene.image.copy()
    columns = np.arange(image.shape[1])
    for trace in (6, 7):
        for column, centre in zip(columns, scene.centres[trace], strict=True):
            low = max(round(centre) - 7, 0)
            part = image[low : round(centre) + 8, column]
            part[:] = np.random.default_rng(column).normal(0, 5, part.size)
    located = locate(image, LocateSettings(fibers=2))
    assert len(located.traces) == 14
    assert [trace.fiber for trace in located.traces] == [0, 1] * 7
    assert located.missing == ()
    left = np.delete(np.arange(16), [6, 7])
    assert np.abs(located.rows()[:, 320] - scene.centres[left, 320]).max() < 0.3


def test_one_fibre_of_an_order_missing_is_told():
    scene = draw_scene(replace(PLAIN, fibers=2, gap=12.0, fwhm=4.0, orders=8))
    image = scene.image.copy()
    for column, centre in enumerate(scene.centres[5]):
        image[round(centre) - 6 : round(centre) + 7, column] = np.random.default_rng(column).normal(0, 5, 13)
    located = locate(image, LocateSettings(fibers=2))
    assert located.missing == ((2, 1),)
    assert [(t.order, t.fiber) for t in located.traces][4:7] == [(2, 0), (3, 0), (3, 1)]
    assert located.of_fiber(1)[2].order == 3
    assert located.orders == 8


@pytest.mark.parametrize(
    "image",
    [
        np.random.default_rng(1).normal(100, 5, (300, 400)).astype(np.float32),
        np.full((300, 400), np.nan, np.float32),
        np.zeros((300, 400), np.float32),
        np.full((300, 400), 7.0, np.float32),
    ],
    ids=["noise", "nan", "zero", "constant"],
)
def test_nothing_is_found_in_nothing(image):
    assert locate(image).traces == ()
    assert locate(image).orders == 0
    assert locate(image).rows().shape == (0, 400)


def test_the_same_bits_twice(plain):
    scene, located = plain
    np.testing.assert_array_equal(locate(scene.image).coefficients, located.coefficients)


def test_the_image_stays_as_it_is(plain):
    scene, _ = plain
    before = scene.image.copy()
    locate(scene.image, bad=scene.image > 1e9)
    np.testing.assert_array_equal(before, scene.image)


def test_refusals(plain):
    scene, _ = plain
    with pytest.raises(ValueError, match="at least 64"):
        locate(scene.image[:40])
    with pytest.raises(ValueError, match=r"bad has shape \(3, 3\)"):
        locate(scene.image, bad=np.zeros((3, 3), bool))
    for name, value in (("fibers", 4), ("degree", 0), ("threshold", 0), ("merge", 1.0), ("max_slope", 0.9)):
        with pytest.raises(ValueError, match=f"{name} = {value!r}: must be"):
            LocateSettings(**{name: value})


def test_the_table_is_written_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- geometries: begin -->\nold\n<!-- geometries: end -->\nafter\n")
    scene = draw_scene(PLAIN)
    text = markdown([trace_scene(scene)], range(4, 5))
    save_markdown(text, page)
    written = page.read_text()
    assert written.startswith("before")
    assert written.endswith("after\n")
    assert "old" not in written
    assert " | ".join(HEADINGS) in written
    assert "| all | 1 | 9 | 9 | 100.00% | 0 |" in written
    bare = tmp_path / "bare.md"
    bare.write_text("no markers")
    with pytest.raises(ValueError, match="expected the lines"):
        save_markdown(text, bare)
