"""A frame is whole when it is as long as its headers say; until then its kind may be known, and may not."""

import gzip
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from flatcore.frames import FLAT_KINDS
from flatcore.instrument import load_profile
from flatcore.watch.wholeness import Look, kind_of, look_into
from tests.watching import write_frame


@pytest.mark.parametrize(
    ("kind", "cards", "expected"),
    [
        ("FLAT_FLAT", {}, "FLAT_FLAT"),
        ("DARK_FLAT ", {"DRSOUTID": "DRS_PP"}, "DARK_FLAT"),
        ("FLAT_DARK", {}, "FLAT_DARK"),
        ("OBJ_FP", {}, ""),
        ("FLAT_FLAT", {"DRSOUTID": "FF_FLAT"}, ""),
        (None, {}, ""),
    ],
)
def test_kinds(tmp_path, kind, cards, expected):
    path = write_frame(tmp_path / "a.fits", kind, **cards)
    assert kind_of(path) == expected
    assert look_into(path) == Look(expected, None)


def packed(path):
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def tiled(path):
    target = path.with_name(path.name + ".fz")
    with fits.open(path) as hdus:
        image = fits.CompImageHDU(hdus[1].data, header=hdus[0].header)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(target)
    return target


@pytest.mark.parametrize("form", [lambda path: path, packed, tiled], ids=["plain", "gz", "fz"])
def test_every_start_of_a_file_is_not_whole(tmp_path, form):
    whole = form(write_frame(tmp_path / "a.fits", rows=400))
    contents = whole.read_bytes()
    assert look_into(whole) == Look("FLAT_FLAT", None)
    part = tmp_path / ("p" + whole.name)
    lengths = {0, 1, 8, 79, 80, 2879, 2880, 2881, 5759, 5760, 8640, len(contents) // 2, len(contents) - 1}
    for length in sorted(n for n in lengths if n < len(contents)):
        part.write_bytes(contents[:length])
        look = look_into(part)
        assert look.fault is not None, length
        assert look.kind in (None, "FLAT_FLAT")
        assert kind_of(part) == look.kind or look.kind is not None


def test_the_kind_is_known_before_the_pixels_are_there(tmp_path):
    contents = write_frame(tmp_path / "a.fits").read_bytes()
    part = tmp_path / "p.fits"
    part.write_bytes(contents[:2880])
    assert kind_of(part) == "FLAT_FLAT"
    assert look_into(part) == Look("FLAT_FLAT", "has no image")
    part.write_bytes(contents[:6000])
    assert look_into(part) == Look("FLAT_FLAT", f"ends at byte 6000, its headers declare {len(contents)}")


def test_room_given_in_advance_is_not_contents(tmp_path):
    contents = write_frame(tmp_path / "a.fits").read_bytes()
    path = tmp_path / "p.fits"
    path.write_bytes(contents[:2880] + bytes(len(contents) - 2880))
    assert look_into(path) == Look("FLAT_FLAT", "has zeros from byte 2880 on, where a header or its end should be")
    path.write_bytes(bytes(len(contents)))
    assert look_into(path).kind is None and "expected b'SIMPLE  ='" in look_into(path).fault


def test_all_of_a_file_with_several_images_counts(tmp_path):
    path = write_frame(tmp_path / "a.fits")
    fits.append(path, np.ones((30, 30)))
    contents = path.read_bytes()
    assert look_into(path).fault is None
    path.write_bytes(contents[:-2880])
    assert "its headers declare" in look_into(path).fault


def test_something_after_the_last_hdu_is_no_fault(tmp_path):
    path = write_frame(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes() + b"remarks of the telescope")
    assert look_into(path).fault is None


def test_a_damaged_compressed_file(tmp_path):
    path = packed(write_frame(tmp_path / "a.fits"))
    contents = bytearray(path.read_bytes())
    contents[-6] ^= 0xFF
    path.write_bytes(contents)
    assert "CRC" in look_into(path).fault


def test_files_that_are_gone_or_refused(tmp_path):
    assert look_into(tmp_path / "gone.fits") == Look(None, "is gone")
    assert kind_of(tmp_path / "gone.fits") is None
    assert "cannot be read" in look_into(tmp_path).fault


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_contents_surprise(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    contents = bytearray(write_frame(folder / "a.fits").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        contents[data.draw(st.integers(0, 5759))] = data.draw(st.integers(0, 255))
    path = folder / "p.fits"
    path.write_bytes(contents[: data.draw(st.integers(0, len(contents)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look = look_into(path)
        kind = kind_of(path)
    assert look.kind in (None, "", *FLAT_KINDS) and kind in (None, "", *FLAT_KINDS)


def test_the_profile_tells_where_the_kind_stands(tmp_path):
    keywords = load_profile(profile_file(tmp_path)).keywords
    path = tmp_path / "raw.fits"
    image = np.zeros((4, 4), np.uint16)
    for imagetyp, kind in (("flat lamp", "FLAT_FLAT"), ("bias", "")):
        header = fits.Header({"IMAGETYP": imagetyp})
        fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(image)]).writeto(path, overwrite=True)
        assert look_into(path, keywords) == Look(kind, None)
        assert kind_of(path, keywords) == kind
        assert kind_of(path) == ""


def profile_file(folder):
    """A profile whose headers tell the kind by IMAGETYP."""
    path = folder / "other.toml"
    path.write_text(
        'name = "OTHER"\nextends = "SMALL"\n\n[keywords.DPRTYPE]\nkeyword = "IMAGETYP"\notherwise = "OTHER"\n'
        '[keywords.DPRTYPE.values]\n"flat*" = "FLAT_FLAT"\n'
    )
    return path
