"""Verifying the store and removing from it, on both engines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from flatcore.caldb import CalibrationDatabase, CalibrationRecord, integrity
from flatcore.caldb import store as calstore
from flatcore.caldb.integrity import verify
from flatcore.errors import CalibrationError, InputError, OutputError
from tests.engines import database_url
from tests.unit.test_caldb import add, database, execute, root, stored_names, write_calibration

__all__ = ["add", "database", "database_url", "root"]  # fixtures

Add = Callable[..., CalibrationRecord]


def states(database: CalibrationDatabase) -> dict[str, str]:
    return {file.filename: file.state for file in verify(database)}


class TestVerify:
    def test_all_intact(self, add: Add, database: CalibrationDatabase) -> None:
        record = add("a.fits")
        add("b.fits", 0, "LOC_LOCO", "AB")
        files = verify(database)
        assert [(file.filename, file.state) for file in files] == [("a.fits", "intact"), ("b.fits", "intact")]
        assert files[0].records == (record,)
        assert files[0].sha256 == record.sha256

    def test_every_fault(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        for name in ("changed.fits", "intact.fits", "missing.fits"):
            add(name)
        store = root / "calib"
        with (store / "changed.fits").open("ab") as file:
            file.write(b"more")
        (store / "missing.fits").unlink()
        (store / "stranger.txt").write_text("text")
        (store / ".hidden.fits.1.tmp").write_text("text")
        (store / "folder").mkdir()
        (store / "flatcore.db-journal").touch()
        expected = {"changed.fits": "changed", "intact.fits": "intact", "missing.fits": "missing",
                    "stranger.txt": "unknown"}  # fmt: skip
        if database.table.backend.file is None:
            expected["flatcore.db-journal"] = "unknown"
        assert states(database) == expected

    def test_replaced_file_is_intact(self, add: Add, database: CalibrationDatabase, tmp_path: Path) -> None:
        add("a.fits", reference=True)
        database.add(write_calibration(tmp_path / "other" / "a.fits", 2.0), replace=True)
        assert states(database) == {"a.fits": "intact"}

    def test_file_out_of_use(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        add("a.fits")
        execute(database, 'UPDATE calibrations SET "USED" = 0')
        assert states(database) == {"a.fits": "intact"}
        (root / "calib" / "a.fits").write_text("other")
        assert states(database) == {"a.fits": "changed"}

    def test_folder_in_place_of_a_file(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        add("a.fits")
        (root / "calib" / "a.fits").unlink()
        (root / "calib" / "a.fits").mkdir()
        with pytest.raises(CalibrationError, match=r"calib/a\.fits: cannot be read: Is a directory"):
            verify(database)

    def test_no_database(self, database: CalibrationDatabase) -> None:
        with pytest.raises(CalibrationError, match="no calibration database at"):
            verify(database)

    def test_what_others_do_meanwhile_is_no_fault(
        self, add: Add, database: CalibrationDatabase, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        removed = add("a.fits")
        look = integrity._everything
        (root / "calib" / "b.fits").write_text("placed, not recorded yet")

        def overtaken(database: CalibrationDatabase) -> object:
            seen = look(database)
            monkeypatch.setattr(integrity, "_everything", look)
            database.remove([removed])
            (root / "calib" / "b.fits").unlink()
            add("b.fits")
            return seen

        monkeypatch.setattr(integrity, "_everything", overtaken)
        assert states(database) == {"b.fits": "intact"}


class TestRemove:
    def test_record_and_file(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        record, other = add("a.fits"), add("b.fits")
        assert database.remove([record]) == [root / "calib" / "a.fits"]
        assert database.records() == [other]
        assert stored_names(root) == ["b.fits"]

    def test_keep_files(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        assert database.remove([add("a.fits")], keep_files=True) == []
        assert database.records() == []
        assert stored_names(root) == ["a.fits"]

    def test_file_that_another_record_is_of(
        self, add: Add, database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        ordinary = add("a.fits")
        reference = database.add(tmp_path / "made" / "a.fits", reference=True)
        assert database.remove([ordinary]) == []
        assert database.records() == [reference]
        assert database.remove([reference]) == [root / "calib" / "a.fits"]
        assert stored_names(root) == []

    def test_both_records_of_a_file(self, add: Add, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        records = [add("a.fits"), database.add(tmp_path / "made" / "a.fits", reference=True)]
        assert database.remove(records) == [root / "calib" / "a.fits"]

    def test_one_renewed_since_is_left_alone(
        self, add: Add, database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        former = add("a.fits")
        renewed = database.add(tmp_path / "made" / "a.fits", pid="PID-9")
        assert database.remove([former]) == []
        assert database.records() == [renewed]
        assert stored_names(root) == ["a.fits"]

    def test_file_that_is_gone_already(self, add: Add, database: CalibrationDatabase, root: Path) -> None:
        record = add("a.fits")
        (root / "calib" / "a.fits").unlink()
        assert database.remove([record]) == []
        assert database.records() == []

    def test_none(self, add: Add, database: CalibrationDatabase) -> None:
        add("a.fits")
        assert database.remove([]) == []
        assert len(database.records()) == 1

    def test_file_that_cannot_be_deleted(
        self, add: Add, database: CalibrationDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = add("a.fits")

        def refuse(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(OutputError, match=r"a\.fits: recorded no more, but the file cannot be deleted: Permission"):
            database.remove([record])
        monkeypatch.undo()
        assert database.records() == []
        assert states(database) == {"a.fits": "unknown"}

    def test_file_removed_while_it_is_added_again(
        self, add: Add, database: CalibrationDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = add("a.fits")
        stage = calstore.Delivery.stage

        def overtaken(self: calstore.Delivery, sources: list[Path]) -> list[str]:
            hashes = stage(self, sources)
            database.remove([record])
            return hashes

        monkeypatch.setattr(calstore.Delivery, "stage", overtaken)
        again = database.add(tmp_path / "made" / "a.fits")
        assert database.records() == [again]
        assert database.state_of(again) == "intact"

    def test_only_copy_removed_while_it_is_recorded_again(
        self, add: Add, database: CalibrationDatabase, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = add("a.fits")
        stage = calstore.Delivery.stage

        def overtaken(self: calstore.Delivery, sources: list[Path]) -> list[str]:
            hashes = stage(self, sources)
            (root / "calib" / "a.fits").unlink()
            return hashes

        monkeypatch.setattr(calstore.Delivery, "stage", overtaken)
        with pytest.raises(InputError, match=r"calib/a\.fits: changed or removed while it was being recorded"):
            database.add(root / "calib" / "a.fits", pid="PID-9")
        assert database.records() == [dataclasses.replace(record)]
