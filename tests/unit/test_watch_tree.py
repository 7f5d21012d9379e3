"""What lies in a tree, by name: frames, copies under way, nights behind links; and where nobody tells of changes."""

import os

import pytest

from flatcore.watch.mounts import network_kind
from flatcore.watch.tree import find_nights, is_copying, is_frame, list_folder


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.fits.fz", "a b_pp.fits"])
def test_frames(name):
    assert is_frame(name) and not is_copying(name)


@pytest.mark.parametrize(
    "name",
    [
        ".a.fits.Xy12Zz",
        ".a.fits",
        "a.fits.part",
        "a.fits.tmp",
        "a.fits~",
        "a.fits.filepart",
        ".a.fits.gz.k3J",
        "a.part",
    ],
)
def test_copies_under_way(name):
    assert is_copying(name) and not is_frame(name)


@pytest.mark.parametrize("name", ["a.txt", ".DS_Store", "._a.fits", ".nfs000a1", ".lock", "END", "a.fits.md5"])
def test_other_files(name):
    assert not is_copying(name) and not is_frame(name)


def test_listing(tmp_path):
    for name in ("b.fits", "a.fits", ".c.fits.X1", "note.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.fits").mkdir()
    (tmp_path / "nowhere.fits").symlink_to(tmp_path / "gone")
    (tmp_path / "link.fits").symlink_to(tmp_path / "a.fits")
    listing = list_folder(tmp_path)
    assert sorted(listing.frames) == ["a.fits", "b.fits", "link.fits"]
    assert list(listing.copying) == [".c.fits.X1"] and list(listing.others) == ["note.txt"]
    assert listing.frames["link.fits"] == listing.frames["a.fits"]
    assert listing.marker("NOTE*") is None and listing.marker("note*") == "note.txt"


def test_digest_tells_contents_and_not_looks(tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("x")
    digest = list_folder(tmp_path).digest
    path.chmod(0o600)
    assert list_folder(tmp_path).digest == digest
    os.utime(path, (1, 1))
    other = list_folder(tmp_path).digest
    assert other != digest
    path.rename(tmp_path / "b.fits")
    assert list_folder(tmp_path).digest not in (digest, other)


def test_nights_at_any_depth_and_behind_links(tmp_path):
    tree, elsewhere = tmp_path / "tmp", tmp_path / "elsewhere"
    for folder in (tree / "n1", tree / "2020" / "n2", elsewhere / "below", tree / ".hidden"):
        folder.mkdir(parents=True)
    (tree / "linked").symlink_to(elsewhere)
    (tree / "n1" / "round").symlink_to(tree)
    (tree / "again").symlink_to(tree / "n1")
    (tree / "nowhere").symlink_to(tmp_path / "gone")
    (tree / "a.fits").write_text("no night")
    found = {night.name: night.linked for night in find_nights(tree)}
    # A folder goes by its own name; a link back to the tree leads nowhere new.
    assert found == {"2020": False, "2020/n2": False, "n1": False, "linked": True, "linked/below": True}


def test_a_tree_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(find_nights(tmp_path / "gone"))


MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
server:/data /data nfs4 rw 0 0
//server/share /with\040blank cifs rw 0 0
user@host:/ /home/me/far fuse.sshfs rw 0 0
/dev/sdb1 /usb fuseblk rw 0 0
/dev/sdc1 /data/local xfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/spirou/tmp", "nfs4"),
        ("/with blank/tmp", "cifs"),
        ("/home/me/far", "fuse.sshfs"),
        ("/home/me/near", None),
        ("/home/me", "fuse.sshfs"),
        ("/usb/tmp", None),
        ("/data/local/tmp", None),
        ("/database", None),
    ],
)
def test_network_disks(tmp_path, path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert network_kind(type(tmp_path)(path), mounts) == kind


def test_a_system_without_a_list_of_mounts(tmp_path):
    assert network_kind(tmp_path, tmp_path / "none") is None
