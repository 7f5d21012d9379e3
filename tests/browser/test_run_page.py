"""A run's page in a browser: the order browser, tables, light and dark, paper, small windows."""

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from flatcore.caldb import RunLog
from flatcore.report import write_pages
from flatcore.request import NightRequest
from flatcore.session import run_session

OBS_DIR = "2020-08-31"
# A picture of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def made(small_night, tmp_path_factory):
    """A night's run with its page."""
    root = Path(shutil.copytree(small_night, tmp_path_factory.mktemp("browser") / "night"))
    return run_session(NightRequest(OBS_DIR, root, settings={"output": {"report": True}}))


@pytest.fixture
def opened(made, visit):
    return visit(made.pages[0])


def plane(made, kind, fiber, name):
    path = next(p.path for p in made.night.products if (p.kind, p.fiber) == (kind, fiber))
    return fits.getdata(path, name)


def shows(opened, title):
    """Wait until the order browser shows an order."""
    opened.page.wait_for_function(
        "title => document.getElementById('order-title').textContent.startsWith(title)", arg=title, timeout=5000
    )


def test_orders_by_buttons(opened):
    shows(opened, "Fibre AB, order 4: pass · S/N ")
    opened.page.click("[data-do=next]")
    shows(opened, "Fibre AB, order 5: pass")
    opened.page.click("#fiber-buttons button:text-is('C')")
    shows(opened, "Fibre C, order 5: pass")
    assert opened.page.get_attribute("#fiber-buttons button:text-is('C')", "aria-pressed") == "true"
    opened.page.fill("#order", "2")
    opened.page.press("#order", "Enter")
    shows(opened, "Fibre C, order 2: pass")
    opened.page.click("[data-do=previous]")
    shows(opened, "Fibre C, order 1: pass")


def test_orders_by_keys(opened):
    for key, title in (("j", "AB, order 5"), ("k", "AB, order 4"), ("]", "A, order 4"), ("[", "AB, order 4")):
        opened.page.keyboard.press(key)
        shows(opened, f"Fibre {title}:")
    # The last order stays the last one.
    for _ in range(12):
        opened.page.keyboard.press("j")
    shows(opened, "Fibre AB, order 8:")


def test_zoom_and_pan_are_linked(opened):
    assert opened.columns() == [-0.5, 1079.5]
    opened.page.keyboard.press("+")
    start, end = opened.columns()
    assert end - start == pytest.approx(540)
    opened.page.keyboard.press("h")
    assert opened.columns()[0] == pytest.approx(start - 135)
    opened.page.click("[data-do=whole]")
    assert opened.columns() == [-0.5, 1079.5]
    ranges = opened.page.evaluate(
        "['flux', 'flat', 'mask'].map(name => Bokeh.documents.at(-1).get_model_by_name(name).x_range.id)"
    )
    assert len(set(ranges)) == 1


def test_drag_zooms(opened):
    opened.page.locator("#panels").scroll_into_view_if_needed()
    box = opened.page.locator("#panels").bounding_box()
    opened.page.mouse.move(box["x"] + 400, box["y"] + 150)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 700, box["y"] + 160, steps=5)
    opened.page.mouse.up()
    opened.page.wait_for_function(
        "(() => { const r = Bokeh.documents.at(-1).get_model_by_name('columns'); return r.end - r.start < 500; })()"
    )


def test_a_pixel_tells_its_values_and_reasons(opened, made):
    mask, flat, e2ds = (plane(made, "FF_FLAT", "AB", "MASK")[4], plane(made, "FF_FLAT", "AB", "FLAT")[4],
                        plane(made, "FF_BLAZE", "AB", "E2DS")[4])  # fmt: skip
    flagged = int(np.flatnonzero(mask & 4)[0])
    plain = int(np.flatnonzero((mask == 0) & np.isfinite(flat))[0])
    for column in (flagged, plain):
        opened.page.evaluate("x => flatcoreBrowser.point(x)", column)
        said = opened.text("#readout")
        assert said.startswith(f"pixel {column} · ")
        shown = dict(
            part.rsplit(" ", 2 if part.startswith(("E2DS", "blaze")) else 1)[:2] for part in said.split(" · ")[1:4]
        )
        assert float(shown["E2DS"]) == pytest.approx(e2ds[column], rel=1e-4)
        assert float(shown["flat"]) == pytest.approx(flat[column], rel=1e-4)
        assert ("BAD_PIXEL: a pixel of the window has no value" in said) == (column == flagged)
        assert said.endswith("no flag") == (column == plain)
    opened.page.keyboard.press(".")
    assert opened.text("#readout").startswith(f"pixel {plain + 1} · ")


def test_pointing_with_the_mouse(opened):
    opened.page.locator("#panels").scroll_into_view_if_needed()
    box = opened.page.locator("#panels").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 150)
    opened.page.wait_for_function("document.getElementById('readout').textContent.startsWith('pixel ')")
    assert 300 < int(opened.text("#readout").split()[1]) < 800


def test_a_table_sorts_both_ways(opened):
    column = opened.page.locator("#orders-AB tbody tr td:nth-child(3)")
    assert column.count() == 9
    values = [float(text) for text in column.all_inner_texts()]
    heading = opened.page.locator("#orders-AB th:nth-child(3)")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column.all_inner_texts()] == sorted(values) != values
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column.all_inner_texts()] == sorted(values, reverse=True)


def test_a_table_leads_to_the_order(opened):
    opened.page.locator("#orders-AB .order-link").nth(7).click()
    shows(opened, "Fibre AB, order 7:")
    assert opened.page.evaluate("document.activeElement.id") == "browser"


def test_a_figure_is_enlarged(made, visit):
    stem = made.night.images[0].stem
    root = made.pages[0].parents[2]
    folder = root / "plot" / OBS_DIR
    folder.mkdir(parents=True)
    for fiber in ("A", "B"):
        (folder / f"{stem}_FLAT_QUALITY_{fiber}.png").write_bytes(PIXEL)
        (folder / f"{stem}_FLAT_IMAGE_{fiber}.png").write_bytes(PIXEL)
    (page,) = write_pages(RunLog.open(root).find(OBS_DIR), root)
    opened = visit(page)
    button = opened.page.locator(".enlarge").first
    width = button.bounding_box()["width"]
    button.press("Enter")
    assert button.bounding_box()["width"] > 1.8 * width and button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.bounding_box()["width"] == width


def test_light_and_dark(made, visit):
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(made.pages[0], color_scheme="light"), visit(made.pages[0], color_scheme="dark")
    colours = light.page.evaluate(paper), dark.page.evaluate(paper)
    assert colours[0] != colours[1]
    plot = "Bokeh.documents.at(-1).get_model_by_name('flat').background_fill_color"
    before = light.page.evaluate(plot)
    light.page.click("#theme")
    assert light.page.evaluate(paper) == colours[1]
    assert light.page.evaluate(plot) == dark.page.evaluate(plot) != before
    light.page.click("#theme")
    assert light.page.evaluate(paper) == colours[0]


@pytest.mark.parametrize("width", [1280, 480])
def test_no_window_is_too_narrow(made, visit, width):
    one = visit(made.pages[0], width)
    assert one.overflow() <= 0
    box = one.page.locator("#panels canvas").first.bounding_box()
    assert box["width"] > 0.5 * width and box["x"] + box["width"] <= width


def test_paper_shows_every_order(opened):
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("#orders-C tbody tr").last.is_visible()
    assert not opened.page.locator(".controls").is_visible()
