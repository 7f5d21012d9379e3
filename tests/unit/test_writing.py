"""Writing: whole files or none, and several together."""

import hashlib
import re
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from astropy.io import fits

from flatcore import _core, fitsio
from flatcore.errors import OutputError
from flatcore.hdu import image_hdu, primary_hdu, primary_header
from flatcore.writing import FileSet, replacing, write_together


def hdus_of(value=1.0, size=10):
    """The HDUs of a small file."""
    return [primary_hdu(primary_header()), image_hdu(np.full((size, size), value, np.float32))]


def failing(name, error):
    """A kernel that fails for a file of this name."""
    real = _core.write_fits

    def write(path, hdus):
        if f".{name}." in path:
            raise error
        return real(path, hdus)

    return write


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


class TestWriting:
    def test_all_files_with_checksums(self, tmp_path):
        folder = tmp_path / "red" / "night"
        write_together({folder / "a.fits": hdus_of(1.0), folder / "b.fits": hdus_of(2.0)})
        assert names_in(folder) == ["a.fits", "b.fits"]
        for name, value in (("a", 1.0), ("b", 2.0)):
            # Astropy warns where a checksum is wrong, and a warning fails the test.
            with fits.open(folder / f"{name}.fits", checksum=True) as hdus:
                hdus.verify("exception")
                assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
                assert hdus[1].data[0, 0] == value

    def test_a_file_is_replaced(self, tmp_path):
        path = tmp_path / "a.fits"
        for value in (1.0, 2.0):
            write_together({path: hdus_of(value)})
        assert fitsio.read_image(path)[1][0, 0] == 2.0
        assert names_in(tmp_path) == ["a.fits"]

    def test_none_appears_before_all_are_complete(self, tmp_path, monkeypatch):
        seen, real = [], _core.write_fits

        def write(path, hdus):
            seen.extend(path.name for path in tmp_path.glob("*.fits") if not path.name.startswith("."))
            return real(path, hdus)

        monkeypatch.setattr(_core, "write_fits", write)
        write_together({tmp_path / f"{name}.fits": hdus_of() for name in "abcdefgh"})
        assert seen == []
        assert names_in(tmp_path) == [f"{name}.fits" for name in "abcdefgh"]

    @pytest.mark.parametrize(
        ("error", "expected"), [(ValueError("no data"), ValueError), (OSError("no more"), OutputError)]
    )
    def test_none_where_the_second_fails(self, tmp_path, monkeypatch, error, expected):
        write_together({tmp_path / "a.fits": hdus_of(1.0)})
        before = (tmp_path / "a.fits").read_bytes()
        monkeypatch.setattr(_core, "write_fits", failing("b.fits", error))
        with pytest.raises(expected, match=str(error)):
            write_together({tmp_path / f"{name}.fits": hdus_of(2.0) for name in "abcdefgh"})
        assert names_in(tmp_path) == ["a.fits"]
        assert (tmp_path / "a.fits").read_bytes() == before

    def test_hashes_are_those_of_the_files(self, tmp_path):
        hashes = write_together({tmp_path / "a.fits": hdus_of(1.0), tmp_path / "b.fits": hdus_of(2.0, 300)})
        assert hashes == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}

    def test_files_of_the_same_values_are_files_of_their_own(self, tmp_path):
        hdus = hdus_of()
        write_together({tmp_path / "a.fits": hdus, tmp_path / "b.fits": hdus})
        assert {path.stat().st_nlink for path in tmp_path.iterdir()} == {1}

    def test_none_where_the_folder_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        target = tmp_path / "file" / "b.fits"
        with pytest.raises(OutputError, match=rf"^{target}: cannot be written: "):
            write_together({tmp_path / "a.fits": hdus_of(), target: hdus_of()})
        assert names_in(tmp_path) == ["file"]

    @pytest.mark.parametrize("first", ["a", "b"])
    def test_none_where_a_folder_has_the_name_of_a_file(self, tmp_path, first):
        (tmp_path / "a.fits").mkdir()
        names = ["a.fits", "b.fits"] if first == "a" else ["b.fits", "a.fits"]
        with pytest.raises(OutputError, match=rf"^{tmp_path}/a\.fits: cannot be written: .*[Dd]irectory"):
            write_together({tmp_path / name: hdus_of() for name in names})
        assert names_in(tmp_path) == ["a.fits"]

    def test_a_temporary_file_of_a_killed_run_is_no_obstacle(self, tmp_path):
        with replacing(tmp_path / "a.fits") as temporary:
            temporary.write_bytes(b"left behind")
            name = temporary.name
        (tmp_path / "a.fits").rename(tmp_path / name)
        write_together({tmp_path / "a.fits": hdus_of(5.0)})
        assert names_in(tmp_path) == ["a.fits"]
        assert fitsio.read_image(tmp_path / "a.fits")[1][0, 0] == 5.0

    def test_none_on_a_full_disk(self, tmp_path):
        script = """
            import resource, sys
            from pathlib import Path
            import numpy as np
            from flatcore.errors import OutputError
            from flatcore.hdu import image_hdu, primary_hdu, primary_header
            from flatcore.writing import write_together

            def hdus(size):
                return [primary_hdu(primary_header()), image_hdu(np.ones((size, size), np.float32))]

            folder = Path(sys.argv[1])
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            try:
                write_together({folder / "small.fits": hdus(10), folder / "large.fits": hdus(500)})
            except OutputError as error:
                print(error)
        """
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        assert re.match(rf"{tmp_path}/large\.fits: cannot be written: .*File too large", done.stdout)
        assert names_in(tmp_path) == []


class TestFileSet:
    def test_nothing_appears_by_itself(self, tmp_path):
        with FileSet() as files:
            files.add(tmp_path / "a.fits", hdus_of())
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_nothing_is_left_where_the_block_fails_while_files_are_written(self, tmp_path, monkeypatch, error):
        begun, real = threading.Event(), _core.write_fits

        def write(path, hdus):
            begun.set()
            return real(path, hdus)

        monkeypatch.setattr(_core, "write_fits", write)

        def fail():
            with FileSet() as files:
                for name in "abcdefgh":
                    files.add(tmp_path / f"{name}.fits", hdus_of(size=1000))
                assert begun.wait(60)
                raise error

        with pytest.raises(error):
            fail()
        assert names_in(tmp_path) == []
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("flatcore-writer")]

    def test_files_are_written_before_they_are_waited_for(self, tmp_path, monkeypatch):
        written, real = threading.Event(), _core.write_fits

        def write(path, hdus):
            digits = real(path, hdus)
            written.set()
            return digits

        monkeypatch.setattr(_core, "write_fits", write)
        with FileSet() as files:
            files.add(tmp_path / "a.fits", hdus_of())
            assert written.wait(60)
            assert [name.startswith(".a.fits.") for name in names_in(tmp_path)] == [True]
            files.appear()
        assert names_in(tmp_path) == ["a.fits"]


class TestReplacing:
    def test_the_file_appears_when_the_block_ends(self, tmp_path):
        path = tmp_path / "deep" / "a.txt"
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("new")
            assert not path.exists()
        assert path.read_text() == "new"
        assert names_in(path.parent) == ["a.txt"]

    def test_the_old_file_stays_when_the_block_fails(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")

        def write():
            with replacing(path) as temporary:
                temporary.write_text("half of the n")
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            write()
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["a.txt"]

    def test_nothing_written(self, tmp_path):
        with (
            pytest.raises(OutputError, match=rf"^{tmp_path}/a\.txt: cannot be written"),
            replacing(tmp_path / "a.txt"),
        ):
            pass
        assert names_in(tmp_path) == []
