"""The profile that a bootstrap writes: what it extends, wherever both are moved."""

import os
from pathlib import Path

import pytest

from flatcore.bootstrap.results import BootstrapResult, Window
from flatcore.bootstrap.windows import write_profile
from flatcore.errors import UsageError
from flatcore.instrument import load_profile

RESULT = BootstrapResult(
    "2020-08-31", "Mine", "PID-1", (), skipped=False, registered=True, warnings=(), seconds={},
    windows=(Window("C", below=7.0, above=7.0, proposed_below=6.5, proposed_above=8.0),),
)  # fmt: skip


def base(path, text='extends = "SMALL"\n'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'name = "Mine"\n{text}')
    return path


def extended(path):
    """What a profile says that it extends."""
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("extends"))
    return line


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("mine.toml", "new.toml", "mine.toml"),
        ("mine.toml", "below/new.toml", "../mine.toml"),
        ("profiles/mine.toml", "new.toml", "profiles/mine.toml"),
        # A file may be called as a packaged profile is.
        ("spirou", "new.toml", "./spirou"),
    ],
)
def test_a_file_is_extended_by_its_path_from_the_new_one(tmp_path, monkeypatch, source, target, expected):
    folder = tmp_path / "before"
    written = write_profile(folder / target, RESULT, base(folder / source))
    assert extended(written) == f'extends = "{expected}"'
    # Together they may be moved, and are read from wherever the reader is.
    moved = folder.rename(tmp_path / "after") / target
    for place in (tmp_path, moved.parent):
        monkeypatch.chdir(place)
        profile = load_profile(os.path.relpath(moved))
        assert (profile.name, profile.fibers["C"].below, profile.fibers["C"].above) == ("Mine", 6.5, 8.0)
        assert profile.detector == load_profile("SMALL").detector


def test_paths_from_the_current_folder(tmp_path, monkeypatch):
    base(tmp_path / "work" / "profiles" / "mine.toml")
    monkeypatch.chdir(tmp_path / "work")
    assert extended(write_profile(Path("new.toml"), RESULT, "profiles/mine.toml")) == 'extends = "profiles/mine.toml"'


def test_links_lead_to_the_same_profile(tmp_path):
    """A folder behind a link is where it is; the profile itself is taken by the name it was given."""
    base(tmp_path / "site" / "common.toml", 'extends = "SMALL"\n[qc]\nmax_rms = 0.02\n')
    base(tmp_path / "site" / "mine.toml", 'extends = "common.toml"\n')
    disk = tmp_path / "disk" / "deep"
    disk.mkdir(parents=True)
    (tmp_path / "link").symlink_to(disk)
    (tmp_path / "link" / "common.toml").symlink_to(tmp_path / "site" / "common.toml")
    (disk / "mine.toml").symlink_to(tmp_path / "site" / "mine.toml")
    written = write_profile(tmp_path / "link" / "new.toml", RESULT, tmp_path / "site" / "mine.toml")
    assert extended(written) == 'extends = "../../site/mine.toml"'
    assert load_profile(written).qc.max_rms == 0.02
    written = write_profile(disk / "new.toml", RESULT, tmp_path / "link" / "mine.toml")
    assert extended(written) == 'extends = "mine.toml"'
    assert load_profile(written).qc.max_rms == 0.02


@pytest.mark.parametrize("instrument", [None, "small"])
def test_a_packaged_profile_is_extended_by_its_name(tmp_path, instrument):
    result = BootstrapResult(**{**vars(RESULT), "instrument": "SMALL"})
    assert extended(write_profile(tmp_path / "new.toml", result, instrument)) == 'extends = "SMALL"'


def test_the_profile_itself_is_not_written_over(tmp_path):
    path = base(tmp_path / "mine.toml")
    before = path.read_text()
    (tmp_path / "link.toml").symlink_to(path)
    for target in (path, tmp_path / "link.toml"):
        with pytest.raises(UsageError, match="is the profile itself"):
            write_profile(target, RESULT, path)
    assert path.read_text() == before
