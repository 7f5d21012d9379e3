"""HDUs to be written: the same bytes as astropy's."""

import numpy as np
import pytest
from astropy.io import fits

from flatcore.hdu import image_hdu, primary_hdu, primary_header, table_hdu
from flatcore.writing import write_together


def headers_and_values(path):
    """The cards of every HDU, less what tells the time, and the bytes of its data."""
    content, found = path.read_bytes(), []
    with fits.open(path, checksum=True, lazy_load_hdus=False) as hdus:
        for hdu in hdus:
            cards = [card for card in hdu.header.cards if card.keyword != "CHECKSUM"]
            texts = [str(card).partition(" updated ")[0] for card in cards]
            info = hdu.fileinfo()
            found.append((texts, content[info["datLoc"] :][: info["datSpan"]]))
            assert (hdu.verify_checksum(), hdu.verify_datasum()) == (1, 1)
    return found


def assert_same_file(tmp_path, ours, theirs):
    write_together({tmp_path / "ours.fits": ours})
    fits.HDUList(theirs).writeto(tmp_path / "theirs.fits", checksum=True, output_verify="exception")
    assert headers_and_values(tmp_path / "ours.fits") == headers_and_values(tmp_path / "theirs.fits")


def of_a_frame():
    """A header as a frame may have: long texts, comments, history, a blank line."""
    header = fits.Header([("OBJECT", "lamp"), ("LONG", "word " * 40, "longer than a card"), ("MJDMID", 59092.5)])
    header["HIERARCH ESO DET"] = 3
    header["COMMENT"] = "remark " * 20
    header["HISTORY"] = "made"
    header[""] = "blank"
    return header


@pytest.mark.parametrize("header", [None, fits.Header(), of_a_frame()])
def test_primary(tmp_path, header):
    # astropy gives EXTEND with the first extension.
    image = image_hdu(np.ones((2, 2)))
    theirs = [fits.PrimaryHDU(header=header), fits.ImageHDU(np.ones((2, 2)))]
    assert_same_file(tmp_path, [primary_hdu(primary_header(header)), image], theirs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 9), (40, 1), (24, 30), (6,)])
def test_images(tmp_path, dtype, shape):
    data = np.random.default_rng(1).normal(50, 10, shape).astype(dtype)
    theirs = fits.ImageHDU(data, name="FLAT")
    theirs.header["BUNIT"] = "electron"
    theirs.header["EXTEND"] = (7, "end")
    theirs.header["COMMENT"] = "of a test"
    ours = image_hdu(data, "FLAT", {"BUNIT": "electron", "EXTEND": (7, "end")}, "of a test")
    assert_same_file(tmp_path, [primary_hdu(primary_header()), ours], [fits.PrimaryHDU(), theirs])


def test_an_image_that_is_a_view(tmp_path):
    data = np.arange(35, dtype=np.float32).reshape(5, 7)[::2, ::-1]
    theirs = [fits.PrimaryHDU(), fits.ImageHDU(data)]
    assert_same_file(tmp_path, [primary_hdu(primary_header()), image_hdu(data)], theirs)


def test_tables(tmp_path):
    columns = {
        "ORDER": ("J", np.arange(4)),
        "SNR": ("D", np.array([1.5, np.nan, -3.0, 1e300])),
        "SATURATED": ("L", np.array([True, False, False, True])),
        "ROWS": ("J", np.array([3, 4, 5, 6], np.uint8)),
        "VERDICT": ("7A", ["pass", "", "skipped", "fail"]),
        "PROBLEM": ("1A", ["", "", "", ""]),
    }
    units = {"SNR": "adu"}
    made = [fits.Column(name, form, array=np.asarray(v), unit=units.get(name)) for name, (form, v) in columns.items()]
    theirs = fits.BinTableHDU.from_columns(made, name="QC")
    ours = table_hdu("QC", {name: values for name, (_, values) in columns.items()}, units)
    assert_same_file(tmp_path, [primary_hdu(primary_header()), ours], [fits.PrimaryHDU(), theirs])
    with fits.open(tmp_path / "ours.fits") as hdus:
        assert list(hdus["QC"].data["VERDICT"]) == ["pass", "", "skipped", "fail"]
        assert list(hdus["QC"].data["SATURATED"]) == [True, False, False, True]


def test_a_card_that_breaks_the_standard():
    header = fits.Header([fits.Card.fromstring("lower   = 'x'")])
    with pytest.raises(fits.VerifyError):
        primary_header(header)


def test_text_beyond_ascii_is_refused():
    with pytest.raises(UnicodeEncodeError):
        table_hdu("INPUTS", {"FILENAME": ["échelle.fits"]})
