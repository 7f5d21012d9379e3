"""The golden nights: every array of the recipe in use, within the agreement its page names."""

import numpy as np
import pytest
from astropy.io import fits

from flatcore import _core, run_night
from tests.conftest import copy_night, shared

FIBERS = ("AB", "A", "B", "C")


@pytest.fixture(scope="module", params=["night101", "night211"])
def golden(request, tmp_path_factory):
    """The result of a golden night and its expected values."""
    source = shared("golden", request.param)
    expected = np.load(shared("golden", f"{request.param}_expected.npz"))
    root = copy_night(source, tmp_path_factory.mktemp(request.param))
    result = run_night(
        "2020-08-31",
        data_root=root,
        instrument=source / "instrument.toml",
        preset="apero",
        settings={"combine": {"method": "median"}},
        keep_images=True,
    )
    return result.images[0], expected


def assert_close(found, expected, relative, absolute=0.0):
    """NaN in the same places, and the rest within the agreement."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=relative, atol=absolute, equal_nan=True)


def test_a_night_is_the_same_on_one_thread_and_without_wide_instructions(tmp_path):
    source = shared("golden", "night211")

    def spectra(threads, wide):
        _core.set_wide(wide)
        try:
            result = run_night(
                "2020-08-31",
                data_root=copy_night(source, tmp_path / f"{threads}-{wide}"),
                instrument=source / "instrument.toml",
                settings={"output": {"save": False}},
                threads=threads,
                keep_images=True,
            ).images[0]
        finally:
            _core.set_wide(True)
        arrays = [result.calibrated.image, result.straightened]
        for fiber in result.fibers.values():
            arrays += [fiber.spectra.e2ds, fiber.spectra.e2dsll, fiber.flat.blaze, fiber.flat.flat, fiber.flat.rms]
        return [np.asarray(array).tobytes() for array in arrays]

    first = spectra(2, True)
    assert spectra(1, True) == first
    assert spectra(2, False) == first


def test_images_of_every_calibration_step(golden):
    image, expected = golden
    # Where background and signal cancel, single precision is held to the noise of a pixel.
    noise = 1e-5 * float(expected["eff_ron"])
    assert_close(image.calibrated.background.original, expected["image3"], 1e-5, noise)
    assert_close(image.calibrated.background.corrected, expected["image4"], 1e-5, noise)
    assert_close(image.calibrated.image, expected["image5"], 1e-5, noise)
    assert_close(image.straightened, expected["image2"], 1e-5, noise)


def test_effective_readnoise(golden):
    image, expected = golden
    assert image.readnoise_e == pytest.approx(float(expected["eff_ron"]), rel=1e-6)


@pytest.mark.parametrize("fiber", FIBERS)
def test_extraction(golden, fiber):
    image, expected = golden
    spectra = image.fibers[fiber].spectra
    assert_close(spectra.e2ds, expected[f"e2ds_{fiber}"], 1e-6)
    assert_close(spectra.e2dsll, expected[f"e2dsll_{fiber}"], 1e-5, 1e-5 * float(expected["eff_ron"]))
    assert_close(spectra.snr, expected[f"snr_{fiber}"], 1e-4)


@pytest.mark.parametrize("fiber", FIBERS)
def test_blaze_flat_and_rms(golden, fiber):
    image, expected = golden
    flat = image.fibers[fiber].flat
    assert_close(flat.blaze, expected[f"blaze_{fiber}"], 1e-4)
    assert_close(flat.flat, expected[f"flat_{fiber}"], 1e-4)
    assert_close(flat.rms, expected[f"rms_{fiber}"], 0.0, 1e-4)
    assert image.fibers[fiber].qc.passed


def test_products_hold_the_same_arrays(golden):
    image, expected = golden
    by_kind = {(product.kind, product.fiber): product.path for product in image.products}
    for fiber in FIBERS:
        for kind, name, relative in (
            ("FF_BLAZE", "blaze", 1e-4),
            ("FF_FLAT", "flat", 1e-4),
        ):
            with fits.open(by_kind[kind, fiber], checksum=True) as hdus:
                assert hdus[0].data is None
                assert_close(hdus[1].data, expected[f"{name}_{fiber}"], relative)
        with fits.open(by_kind["EXT_E2DS_LL", fiber]) as hdus:
            noise = 1e-5 * float(expected["eff_ron"])
            assert_close(hdus[1].data, expected[f"e2dsll_{fiber}"], 1e-5, noise)
            assert_close(hdus["E2DS"].data, expected[f"e2ds_{fiber}"], 1e-6)
