"""Figures: they show what the results hold, each level writes its files, and errors say what is missing."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.polynomial import chebyshev

from flatcore import plots
from flatcore.blaze import fit_orders
from flatcore.errors import OutputError, UsageError
from flatcore.flat import make_flat
from flatcore.instrument import profile_with
from flatcore.plots import catalogue, edges, interactive, style
from flatcore.plots.masks import marked, marks
from flatcore.settings import Settings
from flatcore.spectra import Reason
from tests.figures import LIMITS, ORDER, SMALL, draw, lines, names, only_fiber, texts


def test_edges_show_the_images_with_trace_and_edges(views):
    view = views["C"]
    upper, lower, bar = plots.edges_order_figure(view, ORDER).axes
    x = np.arange(view.columns)
    trace = chebyshev.chebval(2 * x / view.columns - 1, view.traces[ORDER])
    first, count = view.spectra.windows[ORDER]
    for axes, image in ((upper, view.before), (lower, view.after)):
        (shown,) = axes.images
        low, high = round(shown.get_extent()[2] + 0.5), round(shown.get_extent()[3] + 0.5)
        np.testing.assert_array_equal(np.ma.filled(shown.get_array(), np.nan), image[low:high])
    np.testing.assert_array_equal(lines(upper, "trace")[0].get_ydata(), trace)
    straight = [line.get_ydata()[0] for line in lines(lower, "extraction edge")]
    assert straight == [first - 0.5, first + count - 0.5]
    (row,) = lines(lower, "straight row")
    assert row.get_ydata()[0] == first + (count - 1) / 2
    for line, edge in zip(lines(upper, "extraction edge"), straight, strict=True):
        np.testing.assert_allclose(line.get_ydata(), trace + edge - row.get_ydata()[0])
    assert upper.get_ylim()[0] < trace.min() < trace.max() < upper.get_ylim()[1]
    assert bar.get_ylabel() == "flux [electrons]"


def test_the_trace_lies_on_the_light_before_straightening(views):
    view = views["C"]
    for order in view.orders:
        trace = view.trace(order)
        for column in range(200, 900, 100):
            rows = np.arange(round(trace[column]) - 6, round(trace[column]) + 7)
            light = np.nan_to_num(view.before[rows, column])
            assert (rows * light).sum() / light.sum() == pytest.approx(trace[column], abs=0.3)


def test_a_lone_pixel_without_value_is_seen_however_many_columns_there_are(views, monkeypatch):
    view = views["C"]
    row, column = round(view.straight_row(ORDER)), 501
    after = np.nan_to_num(view.after)
    after[row, column] = np.nan
    monkeypatch.setattr(edges, "DRAWN_COLUMNS", view.columns // 3)
    axes = plots.edges_order_figure(replace(view, after=after), ORDER).axes
    image = np.ma.filled(axes[1].images[0].get_array(), np.nan)
    low = round(axes[1].images[0].get_extent()[2] + 0.5)
    assert np.argwhere(np.isnan(image)).tolist() == [[row - low, column // 3]]
    assert "no value (NaN) in any of 3 columns" in [text.get_text() for text in axes[0].get_legend().get_texts()]


def test_blaze_figure_shows_the_results(views):
    view = views["C"]
    upper, full, enlarged = plots.blaze_order_figure(view, ORDER).axes
    np.testing.assert_array_equal(lines(upper, "E2DS")[0].get_ydata(), view.flat.e2ds[ORDER])
    np.testing.assert_array_equal(lines(upper, "fitted blaze")[0].get_ydata(), view.flat.fits[ORDER].blaze)
    for axes in (full, enlarged):
        np.testing.assert_array_equal(lines(axes, "flat")[0].get_ydata(), view.flat.flat[ORDER])
    assert [line.get_ydata()[0] for line in lines(full, "limit")] == [0.8, 1.2]
    (band,) = enlarged.patches
    assert band.get_height() == pytest.approx(2 * view.flat.rms[ORDER])
    assert len(plots.blaze_order_figure(view, ORDER, summary=True).axes) == 2


def figures(view):
    return {
        "edges": plots.edges_order_figure(view, ORDER),
        "blaze": plots.blaze_order_figure(view, ORDER),
        "summary of edges": plots.edges_order_figure(view, ORDER, summary=True),
        "summary of blaze": plots.blaze_order_figure(view, ORDER, summary=True),
        "all edges": plots.edges_overview_figure(view),
        "all blazes": plots.blaze_overview_figure(view),
    }


def test_axes_have_names_with_units_and_titles_say_what_is_shown(views):
    view = views["AB"]
    for name, figure in figures(view).items():
        labels = {label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label}
        assert "column [pixel]" in labels, name
        for label in labels:
            assert label in ("order", "rms of the flat") or "flat" in label or "[" in label, (name, label)
        shown = texts(figure)
        assert all(part in shown for part in ("SMALL", "2020-08-31", "fibre AB", view.stem)), name
        if "all" not in name:
            assert f"order {ORDER}" in shown
            assert f"S/N {view.spectra.snr[ORDER]:.0f}" in shown
            assert f"rms of the flat {view.flat.rms[ORDER]:.4f}" in shown


def test_the_summary_has_larger_type(views):
    plain, summary = (plots.blaze_order_figure(views["C"], ORDER, summary=s) for s in (False, True))
    assert summary.axes[0].yaxis.label.get_size() > 1.3 * plain.axes[0].yaxis.label.get_size()


def test_every_masked_pixel_bears_one_mark(damaged):
    reasons = damaged.flat.reasons
    times = np.zeros(reasons.shape, int)
    for mark, here in marked(reasons, LIMITS):
        if mark.masked:
            times += here
        np.testing.assert_array_equal(here & ((reasons & np.int16(mark.reason)) == 0), False)
    np.testing.assert_array_equal(times == 1, np.isnan(damaged.flat.flat))
    assert times.max() == 1
    assert {mark.reason for mark in marks(LIMITS)} == set(Reason)


def test_masked_pixels_are_marked_and_named_by_reason(damaged):
    figure = plots.blaze_order_figure(damaged, 3)
    upper, full, _ = figure.axes
    shown = dict(name.rsplit(": ", 1) for name in names(figure) if ": " in name)
    for mark, here in marked(damaged.flat.reasons[3], LIMITS):
        if not here.any():
            assert mark.name not in shown
            continue
        assert shown[mark.name] == str(np.count_nonzero(here))
        (rug,) = lines(full, f"columns: {mark.name}")
        np.testing.assert_array_equal(rug.get_xdata(), np.flatnonzero(here))
        if mark.masked:
            (points,) = lines(upper, mark.name)
            np.testing.assert_array_equal(points.get_xdata(), np.flatnonzero(here))
    for name, column in (("flat off by > 0.2", 300), ("flat off by > 10 rms", 400), ("no pixel kept", 500)):
        assert column in lines(full, f"columns: {name}")[0].get_xdata()
    assert "blaze under the cut" in shown
    for why, column in (("outlying pixels of the window left out", 600), ("bad pixels in the window", 650)):
        np.testing.assert_array_equal(lines(full, f"columns: kept; {why}")[0].get_xdata(), [column])
    np.testing.assert_array_equal(lines(full, "columns: kept; saturated pixels in the window")[0].get_xdata(), [700])
    assert lines(full, "flat off by > 0.2")[0].get_ydata().max() == full.get_ylim()[1]
    first = plots.blaze_order_figure(damaged, 0)
    kept = np.count_nonzero(np.isfinite(damaged.flat.flat[0]))
    assert kept > 1000
    assert f"kept; window partly off the detector: {kept}" in names(first)


def test_an_order_without_blaze_is_drawn_and_says_why(damaged):
    figure = plots.blaze_order_figure(damaged, 2)
    assert [text.get_text() for text in figure.axes[1].texts] == ["no blaze: no flux"]
    assert f"no blaze: {damaged.columns}" in names(figure)
    assert "rms of the flat none" in texts(figure)
    draw(figure)


def test_a_fibre_without_any_blaze_is_drawn(views):
    view = views["C"]
    spectra = replace(view.spectra, e2ds=np.full_like(view.spectra.e2ds, np.nan))
    flat = make_flat(spectra, fit_orders(spectra.e2ds, SMALL.blaze, Settings().blaze), LIMITS)
    blank = np.full_like(view.before, np.nan)
    for figure in figures(replace(view, spectra=spectra, flat=flat, before=blank, after=blank)).values():
        draw(figure)


def test_orders_off_the_detector_are_drawn(views):
    view = views["C"]
    rows = view.after.shape[0]
    for shift in (-2 * rows, 2 * rows):
        windows = tuple((first + shift, count) for first, count in view.spectra.windows)
        moved = view.traces + shift * np.eye(1, view.traces.shape[1])
        draw(plots.edges_order_figure(replace(view, spectra=replace(view.spectra, windows=windows), traces=moved), 0))


def test_the_overviews_show_every_order(damaged):
    before, after = plots.edges_overview_figure(damaged).axes[:2]
    for axes in (before, after):
        by_label = {collection.get_label(): collection for collection in axes.collections}
        assert len(by_label["traces"].get_segments()) == len(damaged.orders)
        assert len(by_label["extraction edges"].get_segments()) == 2 * len(damaged.orders)
        assert [text.get_text() for text in axes.texts] == [str(order) for order in damaged.orders]
    figure = plots.blaze_overview_figure(damaged)
    image = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(image, np.nan), style.thin(damaged.flat.flat, len(damaged.orders), 1000))
    shown = names(figure)
    assert any(name.startswith("no blaze:") for name in shown)
    assert any(name.startswith("flat off by > 0.2:") for name in shown)
    assert f"limit {SMALL.qc.max_rms:g}" in shown


@pytest.mark.parametrize("shape", [(6, 8), (7, 10), (5, 3), (1, 13)])
def test_thinning_averages_blocks_and_drops_the_half_empty(shape):
    rng = np.random.default_rng(2)
    image = rng.normal(size=shape)
    image[rng.random(shape) < 0.4] = np.nan
    rows, columns = style.block_steps(shape, 3, 4)
    found, strict = style.thin(image, 3, 4), style.thin(image, 3, 4, whole=True)
    assert found.shape <= (3, 4)
    for (i, j), value in np.ndenumerate(found):
        block = image[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        if 2 * np.isfinite(block).sum() > block.size:
            assert value == pytest.approx(np.nanmean(block))
        else:
            assert np.isnan(value)
        assert np.isnan(strict[i, j]) == np.isnan(block).any()
    np.testing.assert_array_equal(style.thin(image, 20, 20), image)


def test_stretch_leaves_out_nan_and_is_never_empty():
    assert style.stretch(np.array([np.nan, *np.arange(1001.0)])) == pytest.approx((10, 995))
    assert style.stretch(np.full(5, np.nan)) == (0, 1)
    assert style.stretch(np.full(5, 3.0)) == (3, 4)


FIGURES = tuple(name for name in vars(catalogue) if name.endswith("_figure"))


def tiny(monkeypatch, *names):
    """Let figures be drawn in no time."""
    for name in names:
        monkeypatch.setattr(catalogue, name, lambda *_args, **_kwargs: Figure(figsize=(0.2, 0.2)))


def expected(stem, fibers, orders, level):
    """Names of the files of a level."""
    kinds = ("FLAT_ORDER_FIT_EDGES", "FLAT_BLAZE_ORDER")
    common = ["FLAT_BACKGROUND", "FLAT_FRAMES"]
    every = []
    for fiber in fibers:
        shown = f"{fiber}_order{ORDER:02d}"
        common += [f"{kind}1_{fiber}" for kind in kinds]
        common += [f"{kind}2_{shown}" for kind in kinds] + [f"SUM_{kind}_{shown}" for kind in kinds]
        more = ("FLAT_IMAGE", "FLAT_HISTOGRAM", "FLAT_QUALITY", "FLAT_BLAZE_PARAMETERS")
        common += [f"{kind}_{fiber}" for kind in more]
        every += [f"{kind}1_{fiber}_order{order:02d}" for kind in kinds for order in range(orders)]
    found = {f"{stem}_{name}.png" for name in common}
    if level >= 3:
        found |= {f"{stem}_{name}.pdf" for name in common}
    if level >= 4:
        found |= {f"{stem}_{name}.png" for name in every}
    return found


def test_level_2_writes_whole_pngs(plot_night, tmp_path):
    result, traces = plot_night
    image = only_fiber(result.images[0])
    folder = tmp_path / "plot" / "2020-08-31"
    written = plots.write_figures(result, image, traces, SMALL, folder, 2)
    assert {path.name for path in folder.iterdir()} == expected(image.stem, ["C"], 9, 2)
    assert {path.name for path in written} == expected(image.stem, ["C"], 9, 2)
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000


@pytest.mark.parametrize(("level", "pages"), [(2, None), (3, 1), (4, 10)])
def test_levels_write_exactly_their_files(plot_night, tmp_path, monkeypatch, level, pages):
    tiny(monkeypatch, *FIGURES)
    result, traces = plot_night
    image = result.images[0]
    written = plots.write_figures(result, image, traces, SMALL, tmp_path, level)
    wanted = expected(image.stem, image.fibers, 9, level)
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert len(written) == len(wanted)
    if pages:
        pdf = (tmp_path / f"{image.stem}_FLAT_BLAZE_ORDER1_C.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert pdf.count(b"/Type /Page ") == pages


def test_what_cannot_be_written_leaves_nothing(plot_night, tmp_path):
    result, traces = plot_night
    image = only_fiber(result.images[0])
    blocked = tmp_path / f"{image.stem}_FLAT_BACKGROUND.png"
    blocked.mkdir()
    with pytest.raises(OutputError, match=r"FLAT_BACKGROUND\.png"):
        plots.write_figures(result, image, traces, SMALL, tmp_path, 3)
    assert list(tmp_path.iterdir()) == [blocked]


@pytest.mark.parametrize("level", [-1, 0, 1, 5])
def test_other_levels_are_refused(plot_night, tmp_path, level):
    result, traces = plot_night
    with pytest.raises(UsageError, match=f"--plot {level}: .* 2, 3 and 4"):
        plots.write_figures(result, result.images[0], traces, SMALL, tmp_path, level)


def test_a_users_matplotlib_style_is_left_out_and_left_alone(plot_night, tmp_path, monkeypatch):
    import matplotlib as mpl  # noqa: PLC0415

    tiny(monkeypatch, *(name for name in FIGURES if name not in ("blaze_order_figure", "quality_figure")))
    result, traces = plot_night
    image = only_fiber(result.images[0])
    monochrome = {"figure.facecolor": "red", "font.size": 30, "savefig.bbox": "tight"}
    plots.write_figures(result, image, traces, SMALL, tmp_path / "plain", 2)
    with mpl.rc_context(monochrome):
        plots.write_figures(result, image, traces, SMALL, tmp_path / "styled", 2)
        assert mpl.rcParams["font.size"] == 30
    for path in (tmp_path / "plain").iterdir():
        assert path.read_bytes() == (tmp_path / "styled" / path.name).read_bytes()


def test_missing_images_and_traces_are_refused(plot_night):
    result, traces = plot_night
    image = result.images[0]
    with pytest.raises(ValueError, match="keep_images=True"):
        plots.fiber_views(result, replace(image, straightened=None), traces, SMALL)
    with pytest.raises(ValueError, match="no traces of fibre AB, expected 9"):
        plots.fiber_views(result, image, {}, SMALL)
    with pytest.raises(ValueError, match="8 traces of fibre C, expected 9"):
        plots.fiber_views(result, image, {**traces, "C": traces["C"][1:]}, SMALL)


def test_a_plot_order_beyond_the_last_is_told(plot_night, caplog):
    result, traces = plot_night
    profile = profile_with(SMALL, {"plot": {"order": 33}}, "test")
    view = plots.fiber_views(result, only_fiber(result.images[0]), traces, profile)[0]
    assert view.plot_order == 8
    assert "plot.order = 33: fibre C has orders 0 to 8" in caplog.text


@pytest.mark.parametrize(
    ("below", "above", "window", "row"), [(7, 7, (44, 15), 51), (2, 9, (10, 12), 12), (0, 0, (5, 1), 5)]
)
def test_the_straight_row_is_where_the_window_was_put(views, below, above, window, row):
    view = views["C"]
    geometry = view.geometry.model_copy(update={"below": below, "above": above})
    spectra = replace(view.spectra, windows=(window,))
    assert replace(view, geometry=geometry, spectra=spectra).straight_row(0) == pytest.approx(row)


@pytest.fixture
def without_plots(monkeypatch):
    """flatcore as if its figures had not been imported yet."""
    for name in [name for name in sys.modules if name.startswith("flatcore.plots")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("without_plots")
def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"--plot: .*pip install 'flatcore\[plots\]'"):
        importlib.import_module("flatcore.plots")


def test_a_window_without_display_is_refused(plot_night, monkeypatch):
    import matplotlib.pyplot as plt  # noqa: PLC0415

    result, traces = plot_night
    arguments = (result, only_fiber(result.images[0]), traces, SMALL)
    plt.switch_backend("agg")
    with pytest.raises(UsageError, match=r"--plot 1: .*the backend 'agg' has none.*MPLBACKEND.*--plot 2"):
        plots.show_figures(*arguments)
    assert plt.get_fignums() == []

    def headless(**_):
        raise ImportError("Cannot load backend 'TkAgg' as 'headless' is currently running")

    monkeypatch.setattr(plt, "figure", headless)
    with pytest.raises(UsageError, match=r"--plot 1: .*'TkAgg'.*--plot 2"):
        plots.show_figures(*arguments)


def test_a_window_steps_through_orders_and_fibres(plot_night, monkeypatch):
    import matplotlib.pyplot as plt  # noqa: PLC0415

    result, traces = plot_night
    seen = []

    def show(**_):
        canvas = plt.gcf().canvas
        for key in (None, "n", "right", "p", "x", "left", "p", "f", "q"):
            if key:
                canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))
            title = canvas.figure.subfigs[0].texts[0].get_text()
            seen.append(title.split("fibre ")[1])

    plt.switch_backend("agg")
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "tk")
    monkeypatch.setattr(FigureCanvasAgg, "draw_idle", lambda _self: None)
    monkeypatch.setattr(plt, "show", show)
    plots.show_figures(result, result.images[0], traces, SMALL)
    shown = [title.replace("  order", "") for title in seen]
    assert shown == ["AB 0", "AB 1", "AB 2", "AB 1", "AB 1", "AB 0", "AB 8", "A 8", "A 8"]
    assert plt.get_fignums() == []


def test_q_closes_the_window(views):
    stepper = interactive.Stepper(Figure(), tuple(views.values()))
    stepper.on_key(KeyEvent("key_press_event", stepper.figure.canvas, "q"))
    assert stepper.closed
