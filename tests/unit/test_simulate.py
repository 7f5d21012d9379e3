"""Simulated nights: what is written, what it depends on, and that the truth is what the recipe finds."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial import chebyshev

from flatcore.errors import OutputError, UsageError
from flatcore.instrument import load_profile, profile_with
from flatcore.simulate import SimulationOptions, detector, files, simulate_night
from flatcore.simulate.layout import lay_out
from flatcore.simulate.light import cross_profile, sinc2
from flatcore.simulate.scene import make_scene
from flatcore.simulate.streams import Stream, generator
from tests.twins import blaze, calibrate, extract, recipe, straighten
from tests.twins.statistics import robust_sigma

SMALL = load_profile("SMALL")
OPTIONS = SimulationOptions(SMALL, seed=11, frames=2)
CALIBRATION_KEYWORDS = ["INSTRUME", "EXPTIME", "RDNOISE", "GAIN", "FRMTIME", "SATURATE"]
CALIBRATION_KEYWORDS += ["MJDATE", "MJDEND", "MJDMID", "DRSOUTID"]
FRAME_KEYWORDS = [*CALIBRATION_KEYWORDS, "DPRTYPE", "OBJECT", "DRSMODE", "QCC_ALL"]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return simulate_night(tmp_path_factory.mktemp("noisy"), OPTIONS)


@pytest.fixture(scope="module")
def quiet_night(tmp_path_factory):
    return simulate_night(tmp_path_factory.mktemp("noiseless"), replace(OPTIONS, noise=False))


def bytes_below(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def calibration(night, name):
    (path,) = [p for p in night.calibrations if p.stem.endswith(name)]
    with fits.open(path) as hdus:
        return hdus[1].data.copy(), hdus[0].header


def truth_of(night):
    with np.load(night.truth) as arrays:
        return dict(arrays)


def test_files_lie_where_the_recipe_looks(night):
    assert [p.relative_to(night.root).as_posix() for p in night.frames] == [
        "tmp/2020-08-31/2510100f_pp.fits",
        "tmp/2020-08-31/2510101f_pp.fits",
    ]
    assert {p.name.removeprefix("2490011_pp_") for p in night.calibrations} == {
        "dark_ref.fits",
        "badpixel.fits",
        "bmap.fits",
        "loco_AB.fits",
        "order_profile_AB.fits",
        "loco_C.fits",
        "order_profile_C.fits",
        "shapex.fits",
        "shapey.fits",
        "shapel.fits",
    }
    assert night.truth.relative_to(night.root).as_posix() == "truth/2020-08-31.npz"
    assert set(bytes_below(night.root)) == {
        p.relative_to(night.root).as_posix() for p in (*night.frames, *night.calibrations, night.truth)
    }


def test_frames_have_complete_headers_and_raw_images(night):
    for i, path in enumerate(night.frames):
        with fits.open(path) as hdus:
            assert len(hdus) == 2
            assert hdus[0].data is None
            header, image = hdus[0].header, hdus[1].data
            assert all(keyword in header for keyword in FRAME_KEYWORDS)
            assert SMALL.matches(header)
            assert (header["DRSOUTID"], header["DPRTYPE"], header["QCC_ALL"]) == ("DRS_PP", "FLAT_FLAT", True)
            assert header["MJDATE"] == pytest.approx(OPTIONS.mjd + i * 75 / 86400, abs=1e-9)
            assert header["MJDATE"] < header["MJDMID"] < header["MJDEND"]
            assert image.shape == SMALL.detector.shape
            assert image.dtype == np.dtype(">f4")
            assert np.isfinite(image).all()


def test_calibrations_have_complete_headers_and_shapes(night):
    kept, raw = SMALL.detector.kept_shape, SMALL.detector.shape
    expected = {
        "dark_ref": ("DARKREF", raw, ">f4"),
        "badpixel": ("BADPIX", kept, "u1"),
        "bmap": ("BKGRD_MAP", kept, "u1"),
        "loco_AB": ("LOC_LOCO", (18, kept[1]), ">f8"),
        "loco_C": ("LOC_LOCO", (9, kept[1]), ">f8"),
        "order_profile_AB": ("LOC_ORDERP", kept, ">f4"),
        "order_profile_C": ("LOC_ORDERP", kept, ">f4"),
        "shapex": ("SHAPE_X", kept, ">f4"),
        "shapey": ("SHAPE_Y", kept, ">f4"),
        "shapel": ("SHAPEL", (1, 6), ">f8"),
    }
    for name, (drsoutid, shape, dtype) in expected.items():
        image, header = calibration(night, name)
        assert all(keyword in header for keyword in CALIBRATION_KEYWORDS), name
        assert (header["DRSOUTID"], image.shape, image.dtype) == (drsoutid, shape, np.dtype(dtype)), name
        assert 0 < OPTIONS.mjd - header["MJDMID"] < 1, name


def test_localisation_keywords_give_the_localised_traces(night):
    traces, header = calibration(night, "loco_AB")
    count, terms = header["LONBO"], header["LODEGCTR"] + 1
    coefficients = np.array([header[f"LOCE{i:04d}"] for i in range(count * terms)]).reshape(count, terms)
    nx = traces.shape[1]
    np.testing.assert_allclose(chebyshev.chebval(2 * np.arange(nx) / nx - 1, coefficients.T), traces, atol=1e-9)
    assert header["FIBER"] == "AB"
    assert header["LOPTYPE"] == "chebyshev"
    assert np.all(traces[1::2] > traces[::2]), "B lies below A in every pair"


def test_same_options_give_the_same_bytes(night, tmp_path):
    simulate_night(tmp_path, OPTIONS)
    assert bytes_below(tmp_path) == bytes_below(night.root)


def test_another_seed_gives_another_night(night, tmp_path):
    other = truth_of(simulate_night(tmp_path, replace(OPTIONS, seed=12, frames=1)))
    for key in ("prnu", "bad", "blaze_AB", "row_AB", "response_C"):
        assert not np.array_equal(other[key], truth_of(night)[key]), key


def test_number_of_frames_leaves_the_others_alone(night, tmp_path):
    fewer = simulate_night(tmp_path, replace(OPTIONS, frames=1))
    assert fewer.frames[0].read_bytes() == night.frames[0].read_bytes()
    for mine, theirs in zip(fewer.calibrations, night.calibrations, strict=True):
        assert mine.read_bytes() == theirs.read_bytes()


def test_noiseless_twin_differs_by_noise_alone(night, quiet_night):
    noisy, quiet = truth_of(night), truth_of(quiet_night)
    assert noisy.keys() == quiet.keys()
    for key, value in noisy.items():
        np.testing.assert_array_equal(value, quiet[key], err_msg=key)
    for name in ("badpixel", "bmap", "loco_AB", "loco_C", "shapex", "shapey", "shapel"):
        np.testing.assert_array_equal(calibration(night, name)[0], calibration(quiet_night, name)[0])
    to_electrons = SMALL.detector.gain * OPTIONS.simulated.exptime
    for one, other in zip(night.frames, quiet_night.frames, strict=True):
        mean = fits.getdata(other).astype(float) * to_electrons
        noise = fits.getdata(one) * to_electrons - mean
        sigma = np.sqrt(np.maximum(mean, 0) + OPTIONS.simulated.readnoise**2)
        # The cosmic rays are the same in both, so they leave neither a mean nor a tail in the difference.
        assert np.mean(noise / sigma) == pytest.approx(0, abs=0.01)
        assert robust_sigma(noise / sigma) == pytest.approx(1, abs=0.02)
        assert np.abs(noise / sigma).max() < 8


def test_cosmic_rays_differ_from_frame_to_frame_only_where_they_hit(quiet_night):
    first, second = (fits.getdata(p).astype(float) for p in quiet_night.frames)
    changed = np.count_nonzero(first != second)
    megapixels = first.size / 1e6
    assert 2 * OPTIONS.cosmics * megapixels < changed < 40 * OPTIONS.cosmics * megapixels


@pytest.mark.parametrize(("lamp", "lit", "dark"), [("FLAT_DARK", "AB", "C"), ("DARK_FLAT", "C", "AB")])
def test_lamp_lights_its_channel(tmp_path, night, lamp, lit, dark):
    half = simulate_night(tmp_path, replace(OPTIONS, frames=1, lamp=lamp, noise=False))
    assert fits.getheader(half.frames[0])["DPRTYPE"] == lamp
    truth = truth_of(half)
    assert f"blaze_{lit}" in truth
    assert f"blaze_{dark}" not in truth
    image = detector.kept_part(fits.getdata(half.frames[0]), SMALL.detector)
    middle = image.shape[1] // 2
    for name, bright in ((lit, True), (dark, False)):
        traces, _ = calibration(half, f"loco_{name}")
        on_trace = np.median(
            image[np.round(traces[:, middle - 40 : middle + 40]).astype(int), range(middle - 40, middle + 40)]
        )
        assert (on_trace > 20) == bright
        np.testing.assert_array_equal(traces, calibration(night, f"loco_{name}")[0])


def test_truth_has_the_shapes_of_the_products(night):
    truth = truth_of(night)
    kept = SMALL.detector.kept_shape
    assert truth["n_flats"] == 2
    for key in ("background", "prnu", "bad", "beyond"):
        assert truth[key].shape == kept
    for name in SMALL.fibers:
        assert truth[f"blaze_{name}"].shape == truth[f"response_{name}"].shape == (9, kept[1])
        assert truth[f"centre_{name}"].shape == (9, 5)
        assert truth[f"row_{name}"].shape == (9,)
        assert truth[f"pars_{name}"].shape == (9, 6)
        # The warp pushes some columns and rows at the ends off the detector.
        assert np.isfinite(truth[f"blaze_{name}"]).mean() > 0.99
        assert np.nanstd(truth[f"response_{name}"]) == pytest.approx(0.005, abs=0.002)
    np.testing.assert_allclose(truth["blaze_A"] + truth["blaze_B"], truth["blaze_AB"], rtol=0.01)
    assert truth["prnu"].std() == pytest.approx(0.0153, abs=0.0005)
    np.testing.assert_array_equal(calibration(night, "badpixel")[0] != 0, truth["bad"])
    assert truth["bad"].mean() == pytest.approx(OPTIONS.bad_pixels, rel=0.35)
    assert (truth["beyond"] & ~truth["bad"]).any()


def test_blaze_edges_hardly_pass_the_cut(night):
    truth = truth_of(night)
    for name in SMALL.fibers:
        lowest = np.nanmin(truth[f"blaze_{name}"], axis=1) / np.nanmax(truth[f"blaze_{name}"], axis=1)
        assert lowest.min() > 0.06
        assert lowest.max() < 0.6


def test_signal_is_the_top_of_the_brightest_strip():
    scene = make_scene(OPTIONS)
    assert max(one.blaze[0] for one in scene.strips) == pytest.approx(OPTIONS.signal)
    column = scene.light["AB"].sum(axis=1)
    assert np.isfinite(column).all()


def test_straightened_orders_lie_on_their_rows(quiet_night):
    linear = calibration(quiet_night, "shapel")[0].ravel()
    maps = [calibration(quiet_night, name)[0] for name in ("shapex", "shapey")]
    truth = truth_of(quiet_night)
    nx = SMALL.detector.kept_shape[1]
    for localisation, fibers in (("AB", "AB"), ("C", "C")):
        profile = straighten.straighten(calibration(quiet_night, f"order_profile_{localisation}")[0], linear, *maps)
        for fiber in fibers:
            for row, centre in zip(truth[f"row_{fiber}"], truth[f"centre_{fiber}"], strict=True):
                assert row == pytest.approx(recipe.straight_row(centre, linear, nx), abs=1e-6)
                first, count = extract.order_rows(row, 6, 6)
                strip = extract.window(profile, first, count)
                middle = (np.arange(first, first + count)[:, None] * strip**2).sum(axis=0) / (strip**2).sum(axis=0)
                # Off the detector there is no middle; beside it the spline rings a little.
                inside = middle[3:-3]
                assert np.abs(inside - row).max() < 0.1
                assert np.ptp(inside) < 0.02


def test_inverse_transform_undoes_the_transform():
    transform = make_scene(replace(OPTIONS, warp=2.0)).transform
    dx, dy = transform.displacement()
    y, x = np.mgrid[60:560:37, 10:1070:41].astype(float)
    rows, columns = y.astype(int), x.astype(int)
    back_x, back_y = transform.source(x + dx[rows, columns], y + dy[rows, columns])
    np.testing.assert_allclose(back_x, x, atol=1e-4)
    np.testing.assert_allclose(back_y, y, atol=1e-4)


def test_no_warp_leaves_only_the_curvature():
    transform = make_scene(replace(OPTIONS, warp=0.0)).transform
    dx_map, dy_map = transform.maps()
    assert transform.linear == (0, 0, 1, 0, 0, 1)
    assert not dx_map.any()
    assert np.abs(dy_map[:, dy_map.shape[1] // 2]).max() < 1e-5
    assert dy_map.max() > 10


def test_recipe_finds_the_truth(quiet_night):
    """Frames of a clean night, background known, through the plain twins of straightening, extraction and blaze."""
    truth = truth_of(quiet_night)
    spectrograph = SMALL.detector
    frame = np.minimum(*(fits.getdata(p).astype(float) for p in quiet_night.frames))
    dark, _ = calibration(quiet_night, "dark_ref")
    bad, _ = calibration(quiet_night, "badpixel")
    low, high = files.bounds_adu_per_s(SMALL)
    factor = spectrograph.gain * OPTIONS.simulated.exptime
    image = calibrate.to_electrons(frame, low, high, dark, "both", factor, spectrograph.rows, spectrograph.columns, bad)
    linear = calibration(quiet_night, "shapel")[0].ravel()
    maps = [calibration(quiet_night, name)[0] for name in ("shapex", "shapey")]
    straight = straighten.straighten(image - truth["background"], linear, *maps)
    profile = straighten.straighten(calibration(quiet_night, "order_profile_C")[0], linear, *maps)
    for order in (2, 5):
        window = extract.order_rows(truth["row_C"][order], 7, 7)
        spectrum, *_ = extract.extract_order(extract.window(straight, *window), extract.window(profile, *window))
        fitted_blaze, fitted, _ = blaze.fit_blaze(spectrum)
        ratio = fitted_blaze / truth["blaze_C"][order]
        assert np.nanpercentile(np.abs(ratio / np.nanmedian(ratio) - 1), 95) < 0.006
        flat, *_, rms = blaze.make_flat(spectrum, fitted_blaze, fitted)
        assert 0.003 < rms < 0.02
        assert robust_sigma((flat / truth["response_C"][order])[fitted]) < 0.0025


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"frames": 0}, "frames"),
        ({"signal": 0.0}, "signal"),
        ({"signal": float("nan")}, "signal"),
        ({"cosmics": -1.0}, "cosmics"),
        ({"bad_pixels": 0.5}, "bad_pixels"),
        ({"warp": -0.1}, "warp"),
        ({"seed": -1}, "seed"),
        ({"obs_dir": "../x"}, "obs_dir"),
        ({"obs_dir": ""}, "obs_dir"),
        ({"lamp": "DARK_DARK"}, "lamp"),
        ({"mjd": float("inf")}, "mjd"),
    ],
)
def test_wrong_options_are_named(change, named):
    with pytest.raises(UsageError, match=named):
        replace(OPTIONS, **change)


def test_lamp_must_light_a_fibre_of_the_profile():
    only_c = SMALL.model_copy(update={"fibers": {"C": SMALL.fibers["C"]}})
    with pytest.raises(UsageError, match="lights no fibre"):
        SimulationOptions(only_c, lamp="FLAT_DARK")


def test_detector_too_small_for_an_order_is_refused(tmp_path):
    tiny = profile_with(SMALL, {"detector": {"shape": [60, 1088], "rows": [5, 55]}}, "test")
    with pytest.raises(UsageError, match="do not hold"):
        simulate_night(tmp_path, SimulationOptions(tiny))


def test_unwritable_root_is_an_output_error(tmp_path):
    (tmp_path / "calib").write_text("a file where a folder is wanted")
    with pytest.raises(OutputError, match="calib"):
        simulate_night(tmp_path, replace(OPTIONS, frames=1))


def test_profile_values_reach_the_header():
    header = files.frame_header(load_profile("NIRPS_HE"), 59092.9, "FLAT_FLAT")
    assert (header["INSTRUME"], header["DRSMODE"]) == ("NIRPS", "HE")
    assert (header["SATURATE"], header["FRMTIME"], header["GAIN"]) == (60000.0, 5.57192, 1.15)
    assert files.bounds_adu_per_s(load_profile("NIRPS_HE"))[1] == pytest.approx(60000 / 5.57192)


@pytest.mark.parametrize(("name", "orders"), [("SPIROU", 49), ("NIRPS_HA", 75), ("NIRPS_HE", 75), ("SMALL", 9)])
def test_packaged_profiles_get_their_orders(name, orders):
    profile = load_profile(name)
    layout = lay_out(profile, generator(0, Stream.GEOMETRY))
    rows = np.array([strip.row for strip in layout.strips])
    assert layout.orders == orders
    assert rows.min() > 0
    assert rows.max() < profile.detector.kept_shape[0]
    assert np.diff(np.sort(rows)).min() > 5


def test_progress_is_told_in_order(tmp_path):
    told = []
    simulate_night(tmp_path, replace(OPTIONS, frames=1, bad_pixels=0.0, cosmics=0.0), lambda *step: told.append(step))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert told[-1][0] == "frame 1 of 1 written"


def test_profile_integrates_to_one():
    distance = np.linspace(-30, 30, 6001)
    for sharpness in (2.0, 6.0):
        profile = cross_profile(distance, np.full(distance.shape, 7.0), sharpness)
        assert profile.sum() * 0.01 == pytest.approx(1, abs=1e-6)
        assert np.interp(3.5, distance, profile) == pytest.approx(profile.max() / 2, rel=1e-3)


def test_blaze_is_the_fitted_function():
    x = np.arange(1080.0)
    parameters = (9000.0, 2100.0, 530.0, 1e-5, 1e-9, 4e-5)
    expected, _ = blaze.sinc2(x, *parameters)
    np.testing.assert_allclose(sinc2(x, parameters), expected, rtol=1e-12)


def test_raw_frame_comes_back_as_calibration_sees_it():
    raw = np.arange(np.prod(SMALL.detector.shape), dtype=np.float32).reshape(SMALL.detector.shape)
    rows, columns = SMALL.detector.rows, SMALL.detector.columns
    expected = calibrate.to_electrons(raw, -np.inf, np.inf, None, "both", 1.0, rows, columns, None)
    np.testing.assert_array_equal(detector.kept_part(raw, SMALL.detector), expected)


def test_bad_pixels_are_alone_clustered_and_on_edges():
    faults = detector.bad_pixels((600, 1080), 0.004, generator(5, Stream.BAD_PIXELS))
    bad = faults.bad
    around = np.lib.stride_tricks.sliding_window_view(bad, (3, 3)).sum(axis=(2, 3))[bad[1:-1, 1:-1]]
    assert np.count_nonzero(around == 1) > 500
    assert np.count_nonzero(around >= 3) > 100
    assert bad[0].any() or bad[-1].any() or bad[:, 0].any() or bad[:, -1].any()
    assert (faults.response[~bad] == 1).all()
    assert not faults.dark[~bad].any()
    assert not (faults.beyond_high & faults.beyond_low).any()


def test_streams_are_independent():
    first = generator(1, Stream.DARK).random(4)
    np.testing.assert_array_equal(first, generator(1, Stream.DARK).random(4))
    for other in (generator(2, Stream.DARK), generator(1, Stream.COSMICS), generator(1, Stream.DARK, 1)):
        assert not np.array_equal(first, other.random(4))
    spawned = np.random.default_rng(np.random.SeedSequence(1).spawn(5)[4]).random(4)
    by_key = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(4,))).random(4)
    np.testing.assert_array_equal(spawned, by_key)
