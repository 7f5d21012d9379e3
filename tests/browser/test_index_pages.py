"""The index and the trends in a browser."""

from dataclasses import replace

import pytest

from flatcore.caldb import RunLog
from flatcore.report import write_index
from tests.history import order, written


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Index, trends and file of a history."""
    root = tmp_path_factory.mktemp("history")
    written(root)
    return write_index(RunLog.open(root).records(), root)


@pytest.fixture
def trends(pages, visit):
    return visit(pages[1])


def shows(opened, title):
    """Wait until the page shows a series."""
    opened.page.wait_for_function(
        "title => document.getElementById('series-title').textContent.startsWith(title)", arg=title, timeout=5000
    )


def test_orders_and_fibres(trends):
    shows(trends, "SPIRou AB, all orders")
    trends.page.keyboard.press("j")
    shows(trends, "SPIRou AB, order 0; 6 nights")
    trends.page.select_option("#order", "2")
    shows(trends, "SPIRou AB, order 2")
    trends.page.click("#series-buttons button:text-is('SPIRou C')")
    shows(trends, "SPIRou C, order 2")
    trends.page.click("[data-do=previous]")
    shows(trends, "SPIRou C, order 1")


def test_a_night_tells_its_figures(trends):
    trends.page.select_option("#order", "1")
    shows(trends, "SPIRou AB, order 1")
    for _ in range(2):
        trends.page.keyboard.press(".")
    told = trends.text("#readout").split(" · ")
    assert told[0] == "2020-09-02"
    assert float(told[1].removeprefix("rms of the flat ")) == pytest.approx(order(1, 1)["rms"], rel=1e-4)
    assert told[6] == "centre [pixel] no value"


def test_panels_share_their_dates(trends):
    ranges = trends.page.evaluate(
        "['rms', 'snr', 'period'].map(name => Bokeh.documents.at(-1).get_model_by_name(`plot-${name}`).x_range.id)"
    )
    assert len(set(ranges)) == 1


@pytest.mark.parametrize("width", [1280, 480])
@pytest.mark.parametrize("number", [0, 1])
def test_no_window_is_too_narrow(pages, visit, number, width):
    assert visit(pages[number], width, ready=number == 1).overflow() <= 0


@pytest.mark.parametrize("changes", [{}, {
    "id": 123456, "obs_dir": "semester-2020B/2020-09-07-twilight", "instrument": "NIRPS_HA", "status": "interrupted",
}])  # fmt: skip
def test_identifiers_are_read_without_scrolling(tmp_path, visit, changes):
    written(tmp_path)
    runs = [replace(run, **changes) for run in RunLog.open(tmp_path).records()]
    opened = visit(write_index(runs, tmp_path)[0], 1300, ready=False)
    found = opened.page.evaluate("""
        [...document.querySelectorAll('#runs tbody tr td:last-child')].map(cell => {
            const range = document.createRange(), frame = cell.closest('.scroll');
            range.selectNodeContents(cell);
            const room = frame.getBoundingClientRect(), text = range.getBoundingClientRect();
            const seen = text.left >= room.left && text.right <= room.right;
            return [cell.innerText, seen, frame.scrollWidth - frame.clientWidth];
        })
    """)
    assert found == [[run.pid, True, 0] for run in runs]


def test_the_index_sorts_by_night(pages, visit):
    opened = visit(pages[0], ready=False)
    nights = opened.page.locator("#runs tbody tr td:nth-child(2)")
    opened.page.locator("#runs th:nth-child(2) button").click()
    told = nights.all_inner_texts()
    assert told == sorted(told) and len(set(told)) == 7
