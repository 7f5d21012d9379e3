"""FITS files: pixels of every type, and faults named by file."""

import gzip
import hashlib
import os

import numpy as np
import pytest
from astropy.io import fits

from flatcore import fitsio
from flatcore.errors import InputError
from flatcore.header import required

DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
INTEGERS = (8, 16, 32, 64)

# Astropy's own remark comes beside the error that is tested here.
truncated = pytest.mark.filterwarnings("ignore:File may have been truncated")


def padded(content):
    """Bytes filled up to whole FITS blocks."""
    return content + b"\0" * (-len(content) % 2880)


def image_hdu(pixels, bitpix, start, cards):
    """An image HDU in bytes, with any scaling in its cards; astropy would change the pixels to match them."""
    header = fits.Header([start, ("BITPIX", bitpix), ("NAXIS", pixels.ndim)])
    for axis, size in enumerate(reversed(pixels.shape), start=1):
        header[f"NAXIS{axis}"] = size
    if start[0] == "XTENSION":
        header["PCOUNT"], header["GCOUNT"] = 0, 1
    header.update(cards)
    return header.tostring().encode() + padded(pixels.astype(DTYPES[bitpix]).tobytes())


def write_raw(path, pixels, bitpix, place="primary", **cards):
    """A FITS file with these raw pixels in the primary HDU or in an extension."""
    if place == "primary":
        content = image_hdu(pixels, bitpix, ("SIMPLE", True), cards)
    else:
        content = fits.PrimaryHDU().header.tostring().encode()
        content += image_hdu(pixels, bitpix, ("XTENSION", "IMAGE"), cards)
    path.write_bytes(content)
    return path


def raw_pixels(bitpix, shape=(5, 7), seed=1):
    """Raw pixels that reach both ends of their type."""
    rng = np.random.default_rng(seed)
    if bitpix < 0:
        pixels = rng.normal(0, 1000, shape)
        pixels[1, 2] = np.nan
        return pixels
    limits = np.iinfo(DTYPES[bitpix])
    pixels = rng.integers(
        limits.min, limits.max, shape, dtype=np.dtype(DTYPES[bitpix]).newbyteorder("="), endpoint=True
    )
    pixels[0, :3] = limits.min, limits.max, 7
    return pixels


def by_astropy(path):
    """The first image as astropy reads it."""
    with fits.open(path) as hdus:
        return next(np.array(hdu.data, float) for hdu in hdus if hdu.data is not None)


def image_file(path, shape=(6, 8), value=3.0):
    """A plain file with an image of one value in an extension."""
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "lamp"
    fits.HDUList([primary, fits.ImageHDU(np.full(shape, value, np.float32))]).writeto(path)
    return path


class TestPixels:
    @pytest.mark.parametrize("place", ["primary", "extension"])
    @pytest.mark.parametrize(
        ("bitpix", "cards"),
        [(bitpix, {}) for bitpix in DTYPES]
        + [(bitpix, {"BSCALE": 2.5, "BZERO": -100.25}) for bitpix in DTYPES]
        + [(bitpix, {"BSCALE": 0.01, "BZERO": 3.0, "BLANK": 7}) for bitpix in INTEGERS]
        + [(bitpix, {"BLANK": 7}) for bitpix in INTEGERS]
        + [(8, {"BZERO": -128}), (16, {"BZERO": 2**15}), (32, {"BZERO": 2**31}), (64, {"BZERO": 2**63})],
    )
    def test_agree_with_astropy(self, tmp_path, bitpix, cards, place):
        path = write_raw(tmp_path / "a.fits", raw_pixels(bitpix), bitpix, place, **cards)
        header, image = fitsio.read_image(path)
        expected = by_astropy(path)
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, expected, rtol=3e-7, atol=2e-7 * np.nanmax(abs(expected)), equal_nan=True)
        assert np.isnan(image).any() == ("BLANK" in cards or bitpix < 0)
        assert header["BITPIX"] == (bitpix if place == "primary" else 8)

    @pytest.mark.parametrize("bitpix", DTYPES)
    def test_in_double_precision(self, tmp_path, bitpix):
        path = write_raw(tmp_path / "a.fits", raw_pixels(bitpix), bitpix, BSCALE=0.5, BZERO=2.0)
        found = fitsio.read_doubles(path)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, 0.5 * raw_pixels(bitpix).astype(DTYPES[bitpix]).astype(float) + 2.0)

    def test_doubles_keep_what_single_precision_would_lose(self, tmp_path):
        path = tmp_path / "a.fits"
        fits.PrimaryHDU(np.array([1 + 1e-12, 2.0])).writeto(path)
        np.testing.assert_array_equal(fitsio.read_doubles(path), [1 + 1e-12, 2.0])

    def test_where_they_lie(self, tmp_path):
        path = write_raw(tmp_path / "a.fits", raw_pixels(16), 16, "extension", BSCALE=2.0, BZERO=1.0, BLANK=7)
        location = fitsio.open_image(path).location
        assert location.source() == (str(path), 2 * 2880, (5, 7), 16, 2.0, 1.0, 7)

    def test_the_first_image_of_two_dimensions_counts(self, tmp_path):
        path = tmp_path / "a.fits"
        spectrum, first, second = (fits.ImageHDU(np.full(s, v, "f4")) for s, v in (((9,), 1), ((2, 3), 2), ((4, 4), 3)))
        fits.HDUList([fits.PrimaryHDU(), spectrum, first, second]).writeto(path)
        np.testing.assert_array_equal(fitsio.read_image(path)[1], np.full((2, 3), 2.0))

    def test_axes_of_one_pixel_do_not_count(self, tmp_path):
        path = tmp_path / "a.fits"
        fits.PrimaryHDU(np.ones((1, 4, 5), np.float32)).writeto(path)
        assert fitsio.read_image(path)[1].shape == (4, 5)


class TestHeaders:
    def test_of_primary_and_image_are_merged_and_the_primary_wins(self, tmp_path):
        primary, image = fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 3), np.float32), name="PIXELS")
        primary.header.update({"OBJECT": "lamp", "EXPTIME": 60.0})
        image.header.update({"OBJECT": "other", "GAIN": 1.2})
        path = tmp_path / "a.fits"
        fits.HDUList([primary, image]).writeto(path)
        for header in (fitsio.read_header(path), fitsio.open_image(path).header):
            assert (header["OBJECT"], header["EXPTIME"], header["GAIN"]) == ("lamp", 60.0, 1.2)
            assert header.count("OBJECT") == 1
            assert header["NAXIS"] == 0
            assert "EXTNAME" not in header
            assert "XTENSION" not in header

    def test_of_a_file_without_an_image(self, tmp_path):
        primary = fits.PrimaryHDU()
        primary.header["LONBO"] = 98
        primary.writeto(tmp_path / "a.fits")
        assert fitsio.read_header(tmp_path / "a.fits")["LONBO"] == 98

    def test_what_is_read_can_be_changed_and_the_file_stays(self, tmp_path):
        path = image_file(tmp_path / "a.fits")
        before = path.read_bytes()
        fitsio.read_header(path)["OBJECT"] = "changed"
        assert fitsio.read_header(path)["OBJECT"] == "lamp"
        assert path.read_bytes() == before


class TestCompressed:
    @pytest.fixture
    def scratch(self, tmp_path):
        folder = tmp_path / "scratch"
        folder.mkdir()
        return folder

    @pytest.mark.parametrize("place", ["primary", "extension"])
    def test_gzip(self, tmp_path, scratch, place):
        plain = write_raw(tmp_path / "a.fits", raw_pixels(16), 16, place, BSCALE=0.1, BZERO=5.0, BLANK=7)
        packed = tmp_path / "b.fits.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        image = fitsio.open_image(packed, scratch)
        assert image.path == packed
        assert image.location.path.parent == scratch
        np.testing.assert_array_equal(fitsio.read_pixels(image), fitsio.read_image(plain)[1])
        rows = [3, 0, 3, image.location.shape[0] - 1]
        np.testing.assert_array_equal(fitsio.read_rows(image, rows), fitsio.read_pixels(image)[rows])
        with pytest.raises(ValueError, match="first row"):
            fitsio.read_rows(image, [image.location.shape[0]])
        assert fitsio.read_header(packed)["SIMPLE"] is True

    @pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4"])
    def test_tiles_of_integers(self, tmp_path, scratch, dtype):
        limits = np.iinfo(dtype)
        pixels = (
            np.random.default_rng(3).integers(max(limits.min, -9999), min(limits.max, 70000), (20, 30)).astype(dtype)
        )
        path = tmp_path / "a.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels)]).writeto(path)
        np.testing.assert_array_equal(fitsio.read_image(path, scratch)[1], pixels.astype(np.float32))
        np.testing.assert_array_equal(fitsio.read_doubles(path), pixels.astype(float))

    def test_tiles_of_scaled_integers(self, tmp_path, scratch):
        hdu = fits.CompImageHDU(np.random.default_rng(3).normal(100, 10, (20, 30)))
        hdu.scale("int16", bscale=0.01, bzero=100.0)
        path = tmp_path / "a.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        expected = by_astropy(path)
        assert expected.std() > 5
        np.testing.assert_allclose(fitsio.read_image(path, scratch)[1], expected, rtol=1e-6)
        np.testing.assert_allclose(fitsio.read_doubles(path), expected, rtol=1e-6)

    @pytest.mark.parametrize("quantize", [16, 0])
    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_tiles_of_floats_with_nan(self, tmp_path, scratch, dtype, quantize):
        pixels = np.random.default_rng(3).normal(100, 10, (20, 30)).astype(dtype)
        pixels[3, 4] = np.nan
        hdu = fits.CompImageHDU(pixels, compression_type="GZIP_2", quantize_level=quantize)
        hdu.header["GAIN"] = 1.5
        path = tmp_path / "a.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        header, image = fitsio.read_image(path, scratch)
        assert header["GAIN"] == 1.5
        assert np.isnan(image[3, 4])
        np.testing.assert_allclose(image, by_astropy(path), rtol=1e-6, equal_nan=True)
        np.testing.assert_allclose(image, pixels, atol=0.0 if quantize == 0 and dtype == "f4" else 1.0, equal_nan=True)

    def test_need_a_scratch_folder(self, tmp_path):
        packed = tmp_path / "a.fits.gz"
        packed.write_bytes(gzip.compress(image_file(tmp_path / "a.fits").read_bytes()))
        with pytest.raises(InputError, match=rf"{packed}: compressed, and no folder"):
            fitsio.open_image(packed)

    def test_two_files_do_not_share_a_copy(self, tmp_path, scratch):
        for name, value in (("a", 1.0), ("b", 2.0)):
            plain = image_file(tmp_path / f"{name}.fits", value=value)
            (tmp_path / f"{name}.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
        opened = [fitsio.open_image(tmp_path / f"{name}.fits.gz", scratch) for name in "ab"]
        assert [fitsio.read_pixels(image)[0, 0] for image in opened] == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "not a FITS file"),
            (b"\x1f\x8b", "cannot be read: "),
            (b"SIMPLE  = no gzip at all", r"cannot be read: Not a gzipped file"),
            (gzip.compress(b"hello, no FITS"), r"not a FITS file \(it begins with b'hello, no'"),
        ],
    )
    def test_bad_gzip(self, tmp_path, scratch, content, found):
        path = tmp_path / "a.fits.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{path}: {found}"):
            fitsio.open_image(path, scratch)

    def test_gzip_cut_short(self, tmp_path, scratch):
        path = tmp_path / "a.fits.gz"
        noise = write_raw(tmp_path / "a.fits", np.random.default_rng(1).normal(size=(90, 90)), -64)
        packed = gzip.compress(noise.read_bytes())
        path.write_bytes(packed[: len(packed) // 2])
        with pytest.raises(InputError, match=rf"{path}: cannot be uncompressed: .*end-of-stream"):
            fitsio.open_image(path, scratch)
        with pytest.raises(InputError, match=rf"{path}: not a readable FITS file"):
            fitsio.read_doubles(path)

    def test_tiles_cut_short(self, tmp_path, scratch):
        path = tmp_path / "a.fits.fz"
        noise = np.random.default_rng(1).integers(-9999, 9999, (90, 90))
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise.astype(np.int32))]).writeto(path)
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(InputError, match=rf"{path}: not a readable FITS file"):
            fitsio.open_image(path, scratch)


class TestFaults:
    @pytest.mark.parametrize("read", [fitsio.open_image, fitsio.read_header, fitsio.read_doubles])
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", r"not a FITS file \(it begins with b'', expected b'SIMPLE  ='\)"),
            (b"SIMPL", r"not a FITS file \(it begins with b'SIMPL'"),
            (b"hello there, this is text", r"not a FITS file \(it begins with b'hello the'"),
            (b"\x89PNG\r\n\x1a\n and so on", r"not a FITS file \(it begins with b'.x89PNG"),
        ],
    )
    def test_not_fits(self, tmp_path, read, content, found):
        path = tmp_path / "a.fits"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"^{path}: {found}"):
            read(path)

    @pytest.mark.parametrize("read", [fitsio.open_image, fitsio.read_header, fitsio.read_doubles])
    def test_missing(self, tmp_path, read):
        with pytest.raises(InputError, match=rf"^{tmp_path}/nowhere\.fits: no such file"):
            read(tmp_path / "nowhere.fits")
        with pytest.raises(InputError, match=rf"^{tmp_path}: no such file"):
            read(tmp_path)

    @truncated
    @pytest.mark.parametrize("place", ["primary", "extension"])
    @pytest.mark.parametrize("missing", [1, 5000, 8 * 40 * 50])
    def test_truncated(self, tmp_path, place, missing):
        path = write_raw(tmp_path / "a.fits", np.ones((40, 50)), -64, place)
        needed = 2880 * (1 if place == "primary" else 2) + 8 * 40 * 50
        path.write_bytes(path.read_bytes()[: needed - missing])
        message = rf"^{path}: truncated: the image ends at byte {needed}, the file at {needed - missing}$"
        with pytest.raises(InputError, match=message):
            fitsio.open_image(path)
        with pytest.raises(InputError, match=rf"^{path}: not a readable FITS file: "):
            fitsio.read_doubles(path)

    @truncated
    def test_only_the_filling_of_the_last_block_is_missing(self, tmp_path):
        path = write_raw(tmp_path / "a.fits", np.ones((40, 50)), -64)
        path.write_bytes(path.read_bytes()[: 2880 + 8 * 40 * 50])
        assert fitsio.read_image(path)[1].sum() == 40 * 50

    @pytest.mark.filterwarnings("ignore:Error validating header")
    def test_truncated_within_the_header(self, tmp_path):
        path = write_raw(tmp_path / "a.fits", np.ones((4, 5)), -64)
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(InputError, match=rf"^{path}: not a readable FITS file: "):
            fitsio.read_header(path)

    def test_truncated_after_it_was_opened(self, tmp_path):
        path = image_file(tmp_path / "a.fits", (60, 80))
        image = fitsio.open_image(path)
        os.truncate(path, 9000)
        with pytest.raises(InputError, match=rf"{path}.*24960.*9000"):
            fitsio.read_pixels(image)

    @pytest.mark.parametrize("hdus", [[fits.PrimaryHDU()], [fits.PrimaryHDU(np.ones(5))]])
    def test_no_image(self, tmp_path, hdus):
        path = tmp_path / "a.fits"
        fits.HDUList(hdus).writeto(path)
        with pytest.raises(InputError, match=rf"^{path}: holds no image$"):
            fitsio.open_image(path)

    def test_no_numbers(self, tmp_path):
        path = tmp_path / "a.fits"
        fits.PrimaryHDU().writeto(path)
        with pytest.raises(InputError, match=rf"^{path}: holds no image$"):
            fitsio.read_doubles(path)

    def test_three_axes(self, tmp_path):
        fits.PrimaryHDU(np.ones((3, 4, 5), np.float32)).writeto(tmp_path / "a.fits")
        compressed = fits.CompImageHDU(np.ones((3, 40, 50), np.float32))
        fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(tmp_path / "b.fits.fz")
        for path in (tmp_path / "a.fits", tmp_path / "b.fits.fz"):
            with pytest.raises(InputError, match=rf"^{path}: the image has 3 axes, expected 2$"):
                fitsio.open_image(path, tmp_path)


class TestRequired:
    @pytest.fixture
    def header(self):
        return fits.Header({"EXPTIME": 60, "GAIN": 1.5, "OBJECT": "lamp", "QCC_ALL": True, "COUNT": 3})

    @pytest.mark.parametrize(
        ("keyword", "kind", "value"),
        [
            ("EXPTIME", float, 60.0),
            ("GAIN", float, 1.5),
            ("OBJECT", str, "lamp"),
            ("QCC_ALL", bool, True),
            ("COUNT", int, 3),
        ],
    )
    def test_values(self, header, tmp_path, keyword, kind, value):
        found = required(header, keyword, tmp_path, kind)
        assert found == value
        assert type(found) is kind

    @pytest.mark.parametrize(
        ("keyword", "kind", "message"),
        [
            ("NONE", float, "header keyword NONE is missing"),
            ("OBJECT", float, "header keyword OBJECT = 'lamp': expected a finite number"),
            ("QCC_ALL", float, "header keyword QCC_ALL = True: expected a finite number"),
            ("GAIN", str, "header keyword GAIN = 1.5: expected text"),
            ("GAIN", int, "header keyword GAIN = 1.5: expected an integer"),
            ("COUNT", bool, "header keyword COUNT = 3: expected T or F"),
        ],
    )
    def test_faults(self, header, tmp_path, keyword, kind, message):
        path = tmp_path / "a.fits"
        with pytest.raises(InputError) as error:
            required(header, keyword, path, kind)
        assert str(error.value) == f"{path}: {message}"

    def test_a_card_without_a_value(self, tmp_path):
        header = fits.Header([("EXPTIME", None)])
        with pytest.raises(InputError, match=r"EXPTIME = .*: expected a finite number"):
            required(header, "EXPTIME", tmp_path)


def test_sha256(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"flatcore" * 1000)
    assert fitsio.sha256_of(path) == hashlib.sha256(b"flatcore" * 1000).hexdigest()
