"""Pages about runs: what they say, what they escape, what they do without."""

import copy
import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from flatcore.caldb import RunLog
from flatcore.errors import OutputError, UsageError
from flatcore.report import page_path, write_pages
from flatcore.report.browser import plotting_script
from flatcore.report.packing import STEPS, kept_columns, packed, packed_fibers, unpacked
from flatcore.report.pictures import MOST_BYTES
from flatcore.report.products import FiberPlanes
from flatcore.report.quality import orders_table
from flatcore.report.reasons import WORDINGS
from flatcore.report.verdict import verdict_of
from flatcore.request import NightRequest
from flatcore.session import run_session
from flatcore.spectra import Reason
from tests.pages import Page

OBS_DIR = "2020-08-31"
HOSTILE = "</script><script>alert('x')</script><img src=//example.org/x onerror=alert(1)>&amp;\"'"


@pytest.fixture(scope="module")
def made(small_night, tmp_path_factory):
    """A night that was run, two fibres of it, with its record; not to be changed."""
    root = tmp_path_factory.mktemp("report") / "night"
    shutil.copytree(small_night, root)
    run_session(NightRequest(OBS_DIR, root, fiber="C", preset="apero", assignments=("blaze.cut=0.2",)))
    run_session(NightRequest(OBS_DIR, root, preset="apero", assignments=("blaze.cut=0.2", "flat.limit=0.15")))
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy of the night that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "night"))


def latest(root):
    return RunLog.open(root).find(OBS_DIR)


def changed(run, change):
    """The run with another record."""
    record = copy.deepcopy(dict(run.record))
    change(record)
    return dataclasses.replace(run, record=record)


def page_of(run, root):
    (path,) = write_pages(run, root)
    return Page(path)


class TestPage:
    def test_verdict_comes_first(self, made):
        page = page_of(latest(made), made)
        assert page.text.index("✓ Passed") < page.text.index("Quality checks") < page.text.index("What was used")
        assert "All 4 fibres pass quality control. All 36 orders have a blaze of their own." in page.text
        assert latest(made).pid in page.text

    def test_a_page_lies_with_its_night(self, made):
        run = latest(made)
        (path,) = write_pages(run, made)
        assert path == page_path(made, OBS_DIR, run.record["images"][0]["stem"])
        assert path == made / "report" / OBS_DIR / f"{run.record['images'][0]['stem']}.html"
        assert [other.name for other in path.parent.iterdir()] == [path.name]

    def test_tables(self, made):
        run = latest(made)
        page = page_of(run, made)
        image = run.record["images"][0]
        assert page.column("frames", "frame") == image["inputs"]
        assert page.column("frames", "level") == [f"{frame['level']:.4f}" for frame in image["frames"]]
        assert page.column("fibers", "fibre") == ["AB", "A", "B", "C"]
        assert page.column("checks", "check")[0] == "max_rms"
        assert set(page.column("checks", "verdict")) == {"✓ pass"}
        orders = image["fibers"]["A"]["orders"]
        assert page.column("orders-A", "order") == [str(i) for i in range(9)]
        assert page.column("orders-A", "S/N") == [f"{order['snr']:.0f}" for order in orders]
        assert page.column("orders-A", "rms") == [f"{order['rms']:.4f}" for order in orders]
        assert page.column("orders-A", "blaze") == [order["rung"] for order in orders]
        assert page.column("timings", "stage") == list(run.record["seconds"])

    def test_calibrations_with_ages(self, made):
        run = latest(made)
        page = page_of(run, made)
        chosen = run.record["calibrations"]
        assert page.column("calibrations", "key") == [file["keyname"] for file in chosen]
        night = run.record["images"][0]["mjd_mid"]
        assert page.column("calibrations", "age [d]") == [f"{night - file['mjd_mid']:+.2f}" for file in chosen]
        assert page.column("calibrations", "why") == [file["reason"] for file in chosen]

    def test_settings_that_differ(self, made):
        page = page_of(latest(made), made)
        _, *rows = page.tables["settings"]
        by_name = {row[0]: row[1:] for row in rows}
        assert by_name["combine.method"] == ["mean", "median", "preset apero"]
        assert by_name["flat.limit"] == ["0.15", "0.2", "the run's own"]
        assert by_name["blaze.cut"] == ["0.2", "0.1", "the run's own, of the profile"]
        assert "extract.method" not in by_name

    def test_a_profile_that_is_gone_is_not_compared(self, made):
        def other(record):
            record["asked"]["instrument"] = "/nowhere/mine.toml"

        page = page_of(changed(latest(made), other), made)
        assert ["profile", "SMALL", "–", "not compared: the profile's file is not here any more"] in page.tables[
            "settings"
        ]

    def test_blazes_by_the_model_of_all_orders(self, made):
        def jointly(reasons):
            def change(record):
                for order in record["images"][0]["fibers"]["C"]["orders"][:3]:
                    order |= {"rung": "global", "reasons": []}
                record["images"][0]["fibers"]["C"]["orders"][1]["reasons"] = reasons

            return change

        page = page_of(changed(latest(made), jointly([])), made)
        assert "Of 36 orders, 3 have a blaze by the model of all orders." in page.text
        faint = changed(latest(made), jointly(["too faint alone"]))
        page = page_of(faint, made)
        assert "3 have a blaze by the model of all orders (1 for want of one of their own)." in page.text
        table = orders_table("C", faint.record["images"][0]["fibers"]["C"])
        cells = [[cell for cell in row if cell.text == "global"] for row in table.rows]
        assert [cell.tone for row in cells for cell in row] == ["", "warn", ""]

    def test_a_fibre_that_fails(self, made):
        def fail(record):
            fiber = record["images"][0]["fibers"]["C"]
            fiber["passed"] = False
            fiber["checks"][0] |= {"passed": False, "value": 0.0712345, "words": "rms of the flat of order 4"}
            fiber["checks"][1] |= {"passed": False}
            fiber["orders"][4] |= {"verdict": "fail", "rms": None, "rung": "none", "words": "no blaze: no light"}
            record["warnings"] = ["fibre C, order 4: no blaze"]
            record["figure_problems"] = ["figures could not all be drawn: no ink"]

        page = page_of(changed(latest(made), fail), made)
        assert "✗ Failed: fibre C" in page.text
        assert "Fibre C: rms of the flat of order 4; measured 0.07123." in page.text
        assert "Fibres AB, A, B passed." in page.text and "Of 36 orders, 1 has no blaze." in page.text
        assert (
            "2 warnings, listed below." in page.text
            and "no ink" in page.text
            and "fibre C, order 4: no blaze" in page.text
        )
        assert page.column("checks", "verdict")[-6:-4] == ["✗ fail", "! warns"]
        assert page.column("orders-C", "verdict")[4] == "✗ fail" and page.column("orders-C", "rms")[4] == "–"
        assert page.column("orders-C", "words")[4] == "no blaze: no light"
        # The first fibre's orders are unfolded, and those of the fibres that fail.
        assert ["open" in a for tag, a in page.tags if tag == "details"] == [True, False, False, True]

    def test_many_warnings_unfold(self, made):
        def warn(record):
            record["warnings"] = [f"warning {number}." for number in range(20)]

        page = page_of(changed(latest(made), warn), made)
        assert "20 warnings, listed below." in page.text
        before, after = page.text.split("12 more")
        assert "warning 7." in before and "warning 8." in after and "warning 19." in after

    def test_a_run_that_failed(self, made):
        run = dataclasses.replace(latest(made), status="error", exit_status=3, record={"error": "a.fits: no such file"})
        (path,) = write_pages(run, made)
        assert path.name == f"{run.pid}.html"
        page = Page(path)
        assert "✗ Not done The run could not be done. a.fits: no such file" in page.text
        assert not page.tables

    def test_frames_that_were_not_used(self, made):
        def leave_out(record):
            record["left_out"] = [{"path": "/night/late_pp.fits", "reason": "QCC_ALL is false"}]

        page = page_of(changed(latest(made), leave_out), made)
        assert page.column("frames", "frame")[-1] == "late_pp.fits"
        assert page.column("frames", "words")[-1] == "left out: QCC_ALL is false"

    def test_a_page_for_each_image(self, small_night, tmp_path):
        root = Path(shutil.copytree(small_night, tmp_path / "night"))
        settings = {"combine": {"frames": False}, "output": {"report": True}}
        outcome = run_session(NightRequest(OBS_DIR, root, fiber="C", settings=settings))
        assert [path.stem for path in outcome.pages] == [image.stem for image in outcome.night.images]
        assert outcome.summary["pages"] == [str(path) for path in outcome.pages]
        assert all("Fibre C passes quality control." in Page(path).text for path in outcome.pages)


class TestHostileNames:
    @pytest.fixture
    def page(self, made):
        def spoil(record):
            image = record["images"][0]
            image["inputs"][0] = image["frames"][0]["name"] = HOSTILE
            image["frames"][1]["words"] = HOSTILE
            record["warnings"] = [HOSTILE]
            record["calibrations"][0]["reason"] = HOSTILE
            record["asked"]["files"] = HOSTILE
            fibers = image["fibers"]
            fibers["A"]["orders"][0]["words"] = HOSTILE

        return page_of(dataclasses.replace(changed(latest(made), spoil), host=HOSTILE), made)

    def test_are_text(self, page):
        assert HOSTILE in page.column("frames", "frame") and HOSTILE in page.column("frames", "words")
        assert HOSTILE in page.column("calibrations", "why") and HOSTILE in page.column("orders-A", "words")
        assert page.text.count("alert('x')") >= 7

    def test_add_no_tag(self, page, made):
        plain = page_of(latest(made), made)
        wanted = [tag for tag, _ in plain.tags if tag in ("script", "img", "style")]
        assert [tag for tag, _ in page.tags if tag in ("script", "img", "style")] == wanted
        assert not any("onerror" in attributes for _, attributes in page.tags)

    def test_survive_in_the_data(self, page):
        data = next(json.loads(text) for text in page.scripts if text.startswith('{"group"'))
        assert HOSTILE in data["facts"]["A"][0]

    def test_pages_load_nothing(self, page):
        assert all(re.match(r"#|data:|\.\./", address) for address in page.addresses())
        policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy and "connect-src" not in policy and "http" not in policy


class TestMissingProducts:
    def test_are_named(self, root):
        run = latest(root)
        stem = run.record["images"][0]["stem"]
        folder = root / "red" / OBS_DIR
        (folder / f"{stem}_flat_A.fits").unlink()
        (folder / f"{stem}_blaze_B.fits").write_bytes(b"SIMPLE  = nothing")
        with fits.open(folder / f"{stem}_blaze_C.fits", mode="update") as hdus:
            hdus[0].header["DRSPID"] = "PID-of-another"
        # Where they were made there is nothing at all: they are looked for where the data root is now.
        moved = changed(
            run, lambda record: [p.update(path=f"/gone/{Path(p['path']).name}") for p in record["products"]]
        )
        page = page_of(moved, root)
        assert "3 products of the run are missing." in page.text and "! Passed, with warnings" in page.text
        assert f"{stem}_flat_A.fits : the file is not there any more" in page.text
        assert f"{stem}_blaze_B.fits : " in page.text
        assert f"{stem}_blaze_C.fits : made anew by another run, PID-of-another" in page.text
        data = next(json.loads(text) for text in page.scripts if text.startswith('{"group"'))
        fibers = {fiber["fiber"]: fiber for fiber in data["fibers"]}
        assert set(fibers) == {"AB", "A", "B", "C"}
        assert not unpacked(fibers["A"]["flat"]["data"], 9).any() and unpacked(fibers["A"]["blaze"]["data"], 9).any()
        assert not unpacked(fibers["B"]["blaze"]["data"], 9).any() and unpacked(fibers["B"]["flat"]["data"], 9).any()

    def test_all_of_them(self, root):
        gone = changed(latest(root), lambda record: [p.update(path="/gone/x.fits") for p in record["products"]])
        page = page_of(gone, root)
        assert "The orders cannot be shown: no product of the run is left." in page.text
        assert page.column("fibers", "fibre") == ["AB", "A", "B", "C"]


class TestFigures:
    def test_those_of_the_run_are_embedded(self, root):
        run = latest(root)
        stem = run.record["images"][0]["stem"]
        folder = root / "plot" / OBS_DIR
        folder.mkdir(parents=True)
        for name in (f"{stem}_FLAT_BLAZE_ORDER1_AB", f"{stem}_SUM_FLAT_BLAZE_ORDER_A_order04",
                     f"{stem}_FLAT_QUALITY_A", f"{stem}_SOMETHING_NEW", "other_pp_FLAT_A"):  # fmt: skip
            (folder / f"{name}.png").write_bytes(b"\x89PNG " + name.encode())
        page = page_of(run, root)
        pictures = [a["alt"] for tag, a in page.tags if tag == "img"]
        assert pictures == [
            "Something new",
            "rms and S/N of each order, with limits, fibre A",
            "Spectrum, blaze and flat of an order, fibre A, order 4",
            "Spectrum, blaze and flat, all orders, fibre AB",
        ]
        assert "Figures All fibres Something new" in page.text

    def test_an_older_run_s_are_not(self, root):
        run = latest(root)
        folder = root / "plot" / OBS_DIR
        folder.mkdir(parents=True)
        (folder / f"{run.record['images'][0]['stem']}_FLAT_BLAZE_ORDER1_AB.png").write_bytes(b"\x89PNG")
        later = dataclasses.replace(run, started="2999-01-01T00:00:00")
        assert not [tag for tag, _ in page_of(later, root).tags if tag == "img"]

    def test_too_many_are_named(self, root, monkeypatch):
        monkeypatch.setattr("flatcore.report.pictures.MOST_BYTES", 10)
        run = latest(root)
        folder = root / "plot" / OBS_DIR
        folder.mkdir(parents=True)
        for fiber in "ABC":
            path = folder / f"{run.record['images'][0]['stem']}_FLAT_BLAZE_ORDER1_{fiber}.png"
            path.write_bytes(b"\x89PNG0")
        page = page_of(run, root)
        assert len([tag for tag, _ in page.tags if tag == "img"]) == 2
        assert "1 more figure lies in" in page.text and "ORDER1_C.png" in page.text


class TestPacking:
    @pytest.fixture
    def fiber(self):
        random = np.random.default_rng(5)
        shape = (3, 200)
        blaze = 1000 * (1 + np.arange(3))[:, None] * np.sin(np.linspace(0.3, 2.8, 200))
        flat = 1 + 0.005 * random.standard_normal(shape)
        flat[0, 50:60] = np.nan
        flat[2] = np.nan
        mask = np.where(np.isnan(flat), Reason.LOW_BLAZE, 0).astype(np.int16)
        mask[1, 7] = Reason.NO_BLAZE | Reason.BAD_PIXEL
        return FiberPlanes("AB", "electron", blaze, blaze * flat, flat, mask)

    def test_values_are_those_of_the_products(self, fiber):
        for plane in (fiber.blaze, fiber.e2ds, fiber.flat):
            found = packed(plane)
            steps = unpacked(found["data"], 3).astype(float)
            values = np.array(found["low"])[:, None] + (steps - 1) / (STEPS - 1) * np.array(found["span"])[:, None]
            assert np.array_equal(steps == 0, np.isnan(plane))
            finite = np.isfinite(plane)
            allowed = np.broadcast_to(np.array(found["span"])[:, None] / (STEPS - 1) * 0.51, plane.shape)
            assert (np.abs(values - plane)[finite] <= allowed[finite]).all()

    def test_masks_and_columns_are_kept(self, fiber):
        (found,) = packed_fibers([fiber])["fibers"]
        assert np.array_equal(unpacked(found["mask"], 3), fiber.mask)
        assert np.array_equal(unpacked(found["columns"], 3), np.tile(np.arange(200), (3, 1)))
        assert (found["unit"], found["orders"], found["width"]) == ("e⁻", 3, 200)

    def test_no_spike_is_thinned_away(self, fiber):
        fiber.flat[1, 77], fiber.flat[1, 123] = 1.19, 0.81
        data = packed_fibers([fiber], most_pixels=100)
        assert data["group"] == 12
        (found,) = data["fibers"]
        assert found["width"] <= 2 * -(-200 // 12)
        columns = unpacked(found["columns"], 3)
        assert {77, 123} <= set(columns[1].tolist())
        assert (np.diff(columns.astype(int), axis=1) >= 0).all()
        assert np.array_equal(columns, kept_columns(fiber, 12))

    def test_a_full_night_is_below_the_limit(self):
        random = np.random.default_rng(1)
        shape = (49, 4088)
        blaze = 6e4 * np.sin(np.linspace(0.2, 2.9, 4088)) * np.ones((49, 1))
        fibers = []
        for name in ("AB", "A", "B", "C"):
            flat = 1 + 0.01 * random.standard_normal(shape)
            mask = (random.random(shape) < 0.01).astype(np.int16) * int(Reason.REJECTED)
            fibers.append(FiberPlanes(name, "electron", blaze, blaze * flat, flat, mask))
        # With the library and all the figures that a page embeds, and half a megabyte of tables.
        size = len(json.dumps(packed_fibers(fibers))) + len(plotting_script()) + MOST_BYTES * 4 / 3 + 5e5
        assert size < 15e6


def test_every_reason_has_words():
    assert {wording.reason for wording in WORDINGS} == set(Reason)
    assert len({wording.words for wording in WORDINGS}) == len(Reason)


@pytest.mark.parametrize(("status", "headline"), [("running", "Not done yet"), ("killed", "Killed")])
def test_runs_that_made_nothing(made, status, headline):
    run = dataclasses.replace(latest(made), status=status, record={})
    assert verdict_of(run, None, ()).headline == headline


def test_without_the_libraries(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("flatcore.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(UsageError, match=r"pip install 'flatcore\[report\]'"):
        import flatcore.report  # noqa: F401, PLC0415


def test_a_folder_that_takes_no_page(root):
    shutil.rmtree(root / "report", ignore_errors=True)
    (root / "report").write_text("a file")
    with pytest.raises(OutputError, match="report"):
        write_pages(latest(root), root)


def test_a_page_that_fails_costs_no_product(small_night, tmp_path, caplog):
    root = Path(shutil.copytree(small_night, tmp_path / "night"))
    (root / "report").write_text("a file")
    outcome = run_session(NightRequest(OBS_DIR, root, fiber="C", settings={"output": {"report": True}}))
    assert outcome.pages == () and outcome.passed
    assert all(product.path.is_file() for product in outcome.night.products)
    assert "the page could not be written" in caplog.text
    assert latest(root).status == "done"
