"""Figures of whole fibres and images: they show what the results hold, with limits drawn and named."""

from dataclasses import replace

import numpy as np
import pytest

from flatcore import plots
from flatcore.blaze import fit_orders
from flatcore.blaze.across import Across
from flatcore.flat import make_flat
from flatcore.plots import background, flats, style
from flatcore.plots.catalogue import figure_files
from flatcore.plots.parameters import predictions
from flatcore.plots.previous import FAR_BELOW
from flatcore.previous import Previous, changes
from flatcore.settings import BlazeSettings
from flatcore.spectra import Reason, Rung
from flatcore.stability import drift
from tests.figures import LIMITS, SMALL, draw, lines, names, texts


@pytest.fixture(scope="module")
def image(plot_night):
    result, traces = plot_night
    return plots.image_view(result, result.images[0], traces, SMALL)


@pytest.fixture(scope="module")
def compared(damaged):
    """The damaged fibre with an earlier night, whose lamp was brighter, and of which order 5 was otherwise."""
    rng = np.random.default_rng(4)
    flat = damaged.flat.flat * (1 + 0.004 * rng.normal(size=damaged.flat.flat.shape))
    flat[5] *= 1 + 0.05 * rng.normal(size=damaged.columns)
    previous = Previous("earlier.fits", 1.25, flat, damaged.flat.blaze * 1.03)
    return replace(damaged, previous=previous, change=changes(damaged.flat, previous))


def values_at(line):
    return dict(zip(line.get_xdata(), line.get_ydata(), strict=True))


def heights(axes, label):
    return [line.get_ydata()[0] for line in lines(axes, label)]


@pytest.fixture(scope="module")
def jointly(damaged):
    """The damaged fibre, with the model of all orders where an order has no sinc^2 of its own."""
    e2ds, settings = damaged.spectra.e2ds, BlazeSettings(model="faint-global")
    fits = fit_orders(e2ds, SMALL.blaze, settings)
    return replace(damaged, flat=make_flat(damaged.spectra, fits, LIMITS))


def test_own_blazes_are_shown_against_the_model_of_all_orders(jointly):
    figure = plots.compared_figure(jointly)
    compared = [fit.compared for fit in jointly.flat.fits]
    image, _, rms, snr, lamp = figure.axes
    used = [i for i, fit in enumerate(jointly.flat.fits) if fit.rung is Rung.GLOBAL]
    own = [i for i in jointly.orders if i not in used]
    assert f"in {len(used)} of {len(compared)} orders" in texts(figure)
    shown = lines(rms, f"own blaze used: {len(own)}")[0]
    np.testing.assert_array_equal(shown.get_xdata(), [compared[i].rms for i in own])
    np.testing.assert_array_equal(shown.get_ydata(), own)
    np.testing.assert_array_equal(
        lines(snr, f"own blaze used: {len(own)}")[0].get_xdata(), [compared[i].snr for i in own]
    )
    np.testing.assert_allclose(
        lines(lamp, f"own blaze used: {len(own)}")[0].get_xdata(),
        [compared[i].parameters[0] / compared[i].lamp for i in own],
    )
    assert lines(rms, "no own blaze: 1")[0].get_ydata() == [2]
    ratio = np.asarray(image.get_images()[0].get_array())
    assert np.ma.getmaskarray(image.get_images()[0].get_array())[2].all() or np.isnan(ratio[2]).all()
    draw(figure)


def test_without_the_model_there_is_nothing_to_compare(views):
    with pytest.raises(ValueError, match="has no model of all orders"):
        plots.compared_figure(views["C"])


def test_rms_and_snr_of_every_order_are_shown_with_their_limits(views):
    view = views["AB"]
    verdicts = ("fail", "skipped", *view.qc.orders[2:])
    view = replace(view, qc=replace(view.qc, orders=verdicts))
    upper, middle, lower = plots.quality_figure(view).axes
    shown = {}
    for line in upper.get_lines():
        if line.get_label().split(":")[0] in style.VERDICTS:
            shown |= values_at(line)
    assert shown == dict(enumerate(view.flat.rms))
    assert values_at(lines(upper, "fail: 1")[0]) == {0: view.flat.rms[0]}
    assert heights(upper, f"limit {SMALL.qc.max_rms:g}") == [SMALL.qc.max_rms]
    for label, values in (
        ("photons alone, all frames", view.diagnostics.snr_photon),
        ("of the spectrum, from flux and read noise, middle columns", view.spectra.snr),
        ("measured: 1 / scatter of the flat from pixel to pixel", view.diagnostics.snr_measured),
    ):
        np.testing.assert_array_equal(lines(middle, label)[0].get_ydata(), values)
    ratio = lines(lower, "measured over the photons'")[0].get_ydata()
    np.testing.assert_array_equal(ratio, view.diagnostics.snr_ratio)
    assert heights(lower, f"limit {SMALL.qc.min_snr_ratio:g}") == [SMALL.qc.min_snr_ratio]
    assert lower.get_xlabel() == "order"


def test_orders_that_miss_a_limit_or_a_value_are_marked_and_counted(damaged):
    asked = damaged.asked.model_copy(update={"min_snr_ratio": float(np.nanmedian(damaged.diagnostics.snr_ratio))})
    saturated = np.zeros(len(damaged.orders), bool)
    saturated[[1, 4]] = True
    view = replace(damaged, asked=asked, spectra=replace(damaged.spectra, saturated=saturated))
    upper, middle, lower = plots.quality_figure(view).axes
    assert list(lines(upper, "no flat: 1")[0].get_xdata()) == [2]
    assert list(lines(middle, "above the saturation limit: 2")[0].get_xdata()) == [1, 4]
    low = np.flatnonzero(damaged.diagnostics.snr_ratio <= asked.min_snr_ratio)
    assert list(lines(lower, f"not above the limit: {low.size}")[0].get_xdata()) == list(low)
    assert low.size >= 2


def test_parameters_are_shown_by_rung_with_their_errors_and_the_prediction(damaged):
    fits = list(damaged.flat.fits)
    fits[4] = replace(fits[4], rung=Rung.PREDICTED)
    fits[6] = replace(fits[6], rung=Rung.SPLINE, parameters=np.full(6, np.nan))
    fits[7] = replace(fits[7], rung=Rung.NO_CUBIC, loss="soft_l1")
    view = replace(damaged, flat=replace(damaged.flat, fits=tuple(fits)))
    figure = plots.parameters_figure(view)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(legend) == {
        "rung full: 5",
        "rung no-cubic: 1",
        "rung predicted: 1",
        "rung spline: 1",
        "rung none: 1",
        "robust fit: 1",
        "predicted from the other orders",
        "± their scatter about it",
    }
    own = {order: fits[order].parameters for order in (0, 1, 3, 5, 7, 8)}
    across = Across(own, view.columns, False)
    for axes, (label, term) in zip(figure.axes, plots.parameters.TERMS, strict=True):
        assert axes.get_ylabel() == label
        points = {container.get_label(): container for container in axes.containers}
        full = points["rung full: 5"]
        assert values_at(full.lines[0]) == {order: fits[order].parameters[term] for order in (0, 1, 3, 5, 8)}
        (bars,) = full.lines[2]
        for order, bar in zip((0, 1, 3, 5, 8), bars.get_segments(), strict=True):
            assert np.ptp(bar[:, 1]) == pytest.approx(2 * fits[order].errors[term])
        assert list(lines(axes, "rung none: 1")[0].get_xdata()) == [2]
        assert list(lines(axes, "robust fit: 1")[0].get_xdata()) == [7]
        predicted = lines(axes, "predicted from the other orders")
        if term in plots.parameters.PREDICTED_TERMS:
            expected = [across.predicted(order)[0][term] for order in view.orders]
            np.testing.assert_array_equal(predicted[0].get_ydata(), expected)
        else:
            assert predicted == []


def test_too_few_orders_predict_nothing(views):
    view = views["C"]
    few = tuple(replace(fit, rung=Rung.SPLINE) if order > 3 else fit for order, fit in enumerate(view.flat.fits))
    values, scatter = predictions(replace(view, flat=replace(view.flat, fits=few)))
    assert np.isnan(values).all() and np.isnan(scatter).all()
    draw(plots.parameters_figure(replace(view, flat=replace(view.flat, fits=few))))


def test_the_flat_is_an_image_with_the_reasons_below(damaged):
    flat, bar, masked, doubtful = plots.flat_image_figure(damaged).axes
    shown = np.ma.filled(flat.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, style.thin(damaged.flat.flat, 9, flats.DRAWN_COLUMNS))
    assert bar.get_ylabel() == "flat (no unit)"
    step = style.block_steps(damaged.flat.flat.shape, 9, flats.DRAWN_COLUMNS)[1]
    assert step == 2
    for axes, where in ((masked, np.isnan(damaged.flat.flat)), (doubtful, kept_but_doubtful(damaged))):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array()[:, :, 3] > 0, where.reshape(9, -1, step).any(axis=2))
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (masked, doubtful)]
    assert f"no blaze: {damaged.columns}" in legends[0]
    assert "flat off by > 0.2: 1" in legends[0]
    assert "saturated pixels in the window: 1" in legends[1]
    colours = masked.images[0].get_array()
    assert [round(255 * part) for part in plots.flats.to_rgb(style.PURPLE)] == list(colours[3, 150, :3])


def kept_but_doubtful(view):
    masking = Reason.NO_DATA | Reason.NO_BLAZE | Reason.LOW_BLAZE | Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT
    reasons = view.flat.reasons
    return ((reasons & np.int16(masking)) == 0) & (reasons != 0)


def test_the_histogram_counts_every_value_once_and_names_its_limits(damaged):
    figure = plots.flat_histogram_figure(damaged)
    left, right = figure.axes
    with np.errstate(invalid="ignore"):
        raw = damaged.spectra.e2ds / np.stack([fit.blaze for fit in damaged.flat.fits])
    finite = np.count_nonzero(np.isfinite(raw))
    for axes in (left, right):
        counted = 0
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if ": " in label:
                counted += int(label.rsplit(": ", 1)[1])
                assert handle is not None
        assert counted == finite
    shown = names(figure)
    assert f"kept: {np.count_nonzero(np.isfinite(damaged.flat.flat))}" in shown
    assert "masked: beyond the fixed limit: 1" in shown
    assert "masked: beyond its rms limit: 1" in shown
    assert "limits 1 ± 0.2" in shown and "limits ± 10 rms" in shown
    dashed = [line.get_xdata()[0] for line in left.get_lines() if line.get_linestyle() == "--"]
    assert dashed == [0.8, 1.2]
    tops = np.concatenate([patch.get_path().vertices for patch in left.patches])
    assert (
        tops[:, 1].max()
        == np.histogram(np.clip(raw[np.isfinite(raw)] - 1, -0.25, 0.25), np.linspace(-0.25, 0.25, flats.BINS))[0].max()
    )


def test_the_change_since_an_earlier_night_is_shown_with_its_limits(compared):
    figure = plots.previous_figure(compared)
    image, bar, *panels = figure.axes
    ratio = compared.flat.flat / compared.previous.flat
    shown = np.ma.filled(image.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, style.thin(ratio, 9, flats.DRAWN_COLUMNS))
    assert bar.get_xlabel() == "flat / earlier flat (no unit)"
    assert "against earlier.fits, 1.2 days earlier" in texts(figure)
    change, asked = compared.change, compared.asked
    over = lines(panels[0], "not below the limit: 1")[0]
    assert list(over.get_ydata()) == [5] and over.get_xdata()[0] == change.flat[5] > asked.max_flat_change
    within = lines(panels[0], "within")[0]
    assert len(within.get_xdata()) == 8
    assert lines(panels[0], f"limit {asked.max_flat_change:g}")[0].get_xdata()[0] == asked.max_flat_change
    assert list(lines(panels[0], "no value: 1")[0].get_ydata()) == [2]
    # The same blaze, but for rounding.
    blaze = lines(panels[1], "within")[0].get_xdata()
    np.testing.assert_array_equal(blaze[np.isfinite(blaze)], asked.max_blaze_change / FAR_BELOW)
    np.testing.assert_array_equal(lines(panels[2], "order")[0].get_xdata(), change.level)
    assert np.nanmax(np.abs(change.level - 1 / 1.03)) < 1e-9


def test_without_an_earlier_night_there_is_no_such_figure(views, compared, image, tmp_path):
    with pytest.raises(ValueError, match="fibre C has no earlier night"):
        plots.previous_figure(views["C"])
    files = figure_files(replace(image, fibers=(views["A"], compared)), tmp_path, 2)
    kept = [file.path.name for file in files if "PREVIOUS" in file.path.name]
    assert kept == [f"{image.stem}_FLAT_PREVIOUS_C.png"]


def test_frames_are_shown_with_limits_and_drift(image):
    assert len(image.frames) == 4
    upper, lower = plots.frames_figure(image).axes
    levels, spreads = ([getattr(frame, name) for frame in image.frames] for name in ("level", "spread"))
    assert list(lines(upper, "like the others: 4")[0].get_ydata()) == levels
    assert list(lines(lower, "like the others: 4")[0].get_ydata()) == spreads
    dashed = [line.get_ydata()[0] for line in upper.get_lines() if line.get_linestyle() == "--"]
    assert dashed == [0.95, 1.05]
    assert heights(lower, "limit 0.05") == [0.05]
    (line,) = (line for line in upper.get_lines() if line.get_label().startswith("straight line"))
    assert np.diff(line.get_ydata()[[0, -1]])[0] == pytest.approx(drift(image.frames))
    assert f"{drift(image.frames):+.2%}" in line.get_label()
    ticks = [tick.get_text() for tick in lower.get_xticklabels()]
    assert [tick.split("\n")[0] + ".fits" for tick in ticks] == [frame.name for frame in image.frames]
    assert ticks[0].endswith("+0.0")


def test_frames_that_differ_are_marked_and_many_are_numbered(image):
    odd = replace(image.frames[1], level=0.9, words="its level is 0.900 of the combined one")
    dark = replace(image.frames[2], level=np.nan)
    upper, lower = plots.frames_figure(replace(image, frames=(image.frames[0], odd, dark, image.frames[3]))).axes
    assert values_at(lines(upper, "not like the others: 1")[0]) == {1: 0.9}
    assert upper.get_ylim()[0] < 0.9
    for axes in (upper, lower):
        assert list(lines(axes, "no lit pixel: 1")[0].get_xdata()) == [2]
    many = plots.frames_figure(replace(image, frames=image.frames * 8))
    assert many.axes[1].get_xlabel() == "number of the frame"
    draw(many)


def test_the_background_is_shown_before_and_after(image):
    figure = plots.background_figure(image)
    maps = image.background
    before, between, after, bar, cut = figure.axes
    for axes, pixels in ((before, maps.original), (between, maps.global_map), (after, maps.corrected)):
        shown = np.ma.filled(axes.images[0].get_array(), np.nan)
        np.testing.assert_array_equal(shown, style.thin(pixels, background.DRAWN_ROWS, background.DRAWN_COLUMNS))
    assert bar.get_ylabel() == "flux [electrons]"
    columns = slice(maps.original.shape[1] // 2 - 10, maps.original.shape[1] // 2 + 11)
    for label, pixels in (("before", maps.original), ("after", maps.corrected), ("background", maps.global_map)):
        expected = np.ma.median(np.ma.masked_invalid(pixels[:, columns]), axis=1).filled(np.nan)
        np.testing.assert_allclose(lines(cut, label)[0].get_ydata(), expected, rtol=1e-6)
    low, high = cut.get_ylim()
    assert low < np.nanmin(maps.cells) < np.nanmax(maps.cells) < high
    assert f"effective read noise {image.readnoise_e:.2f} electrons" in texts(figure)


def test_without_background_there_is_no_such_figure(image, tmp_path):
    bare = replace(image, background=None, frames=())
    with pytest.raises(ValueError, match="no background was subtracted"):
        plots.background_figure(bare)
    names_of_files = [file.path.name for file in figure_files(bare, tmp_path, 2)]
    assert not any("BACKGROUND" in name or "FRAMES" in name for name in names_of_files)
    assert len(names_of_files) == 10 * len(bare.fibers)


def test_every_axis_has_a_name_with_its_unit(compared, image):
    figures = {
        "quality": plots.quality_figure(compared),
        "parameters": plots.parameters_figure(compared),
        "image": plots.flat_image_figure(compared),
        "histogram": plots.flat_histogram_figure(compared),
        "previous": plots.previous_figure(compared),
        "frames": plots.frames_figure(image),
        "background": plots.background_figure(image),
    }
    for name, figure in figures.items():
        labels = {label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label}
        assert labels, name
        for label in labels:
            known = label in ("order", "columns of all orders per bin", "S/N\n(per column)")
            assert known or "[" in label or "no unit" in label or "S/N" in label, (name, label)
        shown = texts(figure)
        assert all(part in shown for part in ("SMALL", "2020-08-31", image.stem)), name
        draw(figure)


def test_a_fibre_without_any_flat_is_drawn(damaged):
    flat = damaged.flat
    nothing = np.full_like(flat.flat, np.nan)
    fits = tuple(
        replace(fit, rung=Rung.NONE, parameters=np.full(6, np.nan), blaze=nothing[0], reasons=("no flux",))
        for fit in flat.fits
    )
    none = np.full(len(fits), np.nan)
    empty = replace(flat, flat=nothing, blaze=nothing, e2ds=nothing, rms=none, rms_before=none, fits=fits)
    nowhere = replace(damaged.diagnostics, snr_measured=none, snr_photon=none, snr_ratio=none)
    view = replace(
        damaged,
        flat=empty,
        spectra=replace(damaged.spectra, e2ds=nothing, snr=none),
        diagnostics=nowhere,
        previous=Previous("earlier.fits", 1.0, nothing, nothing),
        change=None,
    )
    for figure in (
        plots.quality_figure(view),
        plots.parameters_figure(view),
        plots.flat_image_figure(view),
        plots.flat_histogram_figure(view),
        plots.previous_figure(view),
    ):
        draw(figure)


@pytest.mark.parametrize(("width", "columns"), [(100.0, 4), (10.5, 4), (5.2, 2), (1.0, 1)])
def test_a_legend_is_as_wide_as_there_is_room(width, columns):
    assert style.legend_columns(["a pixel of ten " * 2] * 4, 10.0, width, 4) == columns


def test_legends_stay_on_the_figure(damaged):
    for summary in (False, True):
        figure = plots.blaze_order_figure(damaged, 3, summary=summary)
        draw(figure)
        box = figure.axes[0].get_legend().get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width
        # Nor do they run into the title.
        assert box.y1 <= min(text.get_window_extent().y0 for text in figure.texts)
