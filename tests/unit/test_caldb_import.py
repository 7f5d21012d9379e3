"""Calibrations of an APERO installation, taken over whole or not at all; on both engines."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.apero import COLUMNS, import_table, read_table
from flatcore.errors import InputError
from tests.engines import database_url
from tests.unit.test_caldb import NOON, database, root, stored_names, write_calibration

__all__ = ["database", "database_url", "root"]  # fixtures

Row = tuple[object, ...]
HUMAN = "2020-08-31 12:00:00.000"
ROWS: list[Row] = [
    ("BADPIX", None, 0, "bad.fits", HUMAN, NOON, "PID-1", "2020-09-01 10:00:00.123", 1),
    ("LOC", "AB", 1, "loco.fits", HUMAN, NOON + 60, None, "2020-09-01 10:00:00", 0),
    ("DARKM", "None", 1, "dark.fits", HUMAN, NOON - 60, "PID-2", "2020-09-01", 1),
]


@pytest.fixture
def apero(tmp_path: Path) -> Path:
    """Folder of an APERO installation's calibrations."""
    for number, row in enumerate(ROWS):
        write_calibration(tmp_path / "apero" / str(row[3]), float(number))
    return tmp_path / "apero"


def write_sqlite(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS, table: str = 'CA"LIB') -> Path:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE other (x)")
        quoted = table.replace('"', '""')
        connection.execute(f'CREATE TABLE "{quoted}" ({", ".join(columns)})')
        connection.executemany(f'INSERT INTO "{quoted}" VALUES ({", ".join("?" * len(columns))})', rows)
    connection.close()
    return path


def write_text(
    path: Path,
    rows: Sequence[Row],
    *,
    delimiter: str = ",",
    header: bool = True,
    null: str = "NULL",
    quote: bool = False,
) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
        if header:
            writer.writerow(COLUMNS)
        writer.writerows([[null if value is None else value for value in row] for row in rows])
    return path


def told(database: CalibrationDatabase) -> list[tuple[object, ...]]:
    return [
        (r.keyname, r.fiber, r.reference, r.filename, r.unixtime, r.pid, r.pdate, r.used) for r in database.records()
    ]


EXPECTED = [
    ("BADPIX", "", False, "bad.fits", NOON, "PID-1", "2020-09-01T10:00:00.123", True),
    ("DARKREF", "", True, "dark.fits", NOON - 60, "PID-2", "2020-09-01", True),
    ("LOC", "AB", True, "loco.fits", NOON + 60, "", "2020-09-01T10:00:00", False),
]


class TestForms:
    def test_sqlite(self, apero: Path, database: CalibrationDatabase, root: Path) -> None:
        imported = import_table(database, write_sqlite(apero / "calib.db", ROWS))
        assert [record.keyname for record in imported.records] == ["BADPIX", "LOC", "DARKREF"]
        assert imported.skipped == ()
        assert told(database) == EXPECTED
        assert {database.state_of(record) for record in database.records()} == {"intact"}
        assert stored_names(root) == ["bad.fits", "dark.fits", "loco.fits"]
        assert database.records()[0].humantime == "2020-08-31T12:00:00.000"

    @pytest.mark.parametrize("options", [
        {}, {"quote": True}, {"delimiter": "\t", "null": "\\N"}, {"delimiter": ";", "null": ""},
        {"delimiter": "\t", "null": "\\N", "header": False}, {"null": "None"},
    ])  # fmt: skip
    def test_text(self, options: dict[str, object], apero: Path, database: CalibrationDatabase) -> None:
        import_table(database, write_text(apero / "calib.csv", ROWS, **options))  # type: ignore[arg-type]
        assert told(database) == EXPECTED

    def test_more_columns_in_another_order_and_case(self, apero: Path, database: CalibrationDatabase) -> None:
        names = ["id", *(name.lower() for name in reversed(COLUMNS)), "UHASH"]
        rows: list[Row] = [(number, *reversed(row), "x") for number, row in enumerate(ROWS)]
        import_table(database, write_sqlite(apero / "calib.db", rows, names))
        assert told(database) == EXPECTED

    @pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("1", "0"), ("1.0", "0.0"), ("true", "FALSE")])
    def test_booleans(self, yes: str, no: str, apero: Path, database: CalibrationDatabase) -> None:
        rows = [(*row[:2], yes if row[2] else no, *row[3:8], yes if row[8] else no) for row in ROWS]
        import_table(database, write_text(apero / "calib.csv", rows))
        assert told(database) == EXPECTED

    def test_byte_order_mark_and_empty_lines(self, apero: Path) -> None:
        path = write_text(apero / "calib.csv", ROWS)
        path.write_text("\ufeff" + path.read_text() + "\n\n", encoding="utf-8")
        assert [row["FILENAME"] for row in read_table(path)] == ["bad.fits", "loco.fits", "dark.fits"]

    def test_time_from_humantime(self, apero: Path, database: CalibrationDatabase) -> None:
        rows = [(*ROWS[0][:5], None, *ROWS[0][6:])]
        import_table(database, write_text(apero / "calib.csv", rows))
        assert database.records()[0].unixtime == NOON

    def test_files_elsewhere_and_named_by_a_path(
        self, apero: Path, database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        rows = [(*ROWS[0][:3], "/old/place/bad.fits", *ROWS[0][4:])]
        import_table(database, write_text(tmp_path / "calib.csv", rows), files=apero)
        assert stored_names(root) == ["bad.fits"]

    def test_rows_that_come_twice(self, apero: Path, database: CalibrationDatabase) -> None:
        again = (*ROWS[0][:1], "C", *ROWS[0][2:6], "PID-9", *ROWS[0][7:])
        import_table(database, write_sqlite(apero / "calib.db", [*ROWS, again]))
        assert [row[5] for row in told(database)] == ["PID-9", "PID-2", ""]

    def test_again(self, apero: Path, database: CalibrationDatabase) -> None:
        for _ in range(2):
            import_table(database, write_text(apero / "calib.csv", ROWS))
        assert told(database) == EXPECTED

    def test_one_file_of_two_fibres(self, apero: Path, database: CalibrationDatabase, root: Path) -> None:
        rows = [("LOC", fiber, 0, "loco.fits", HUMAN, NOON, "", "", 1) for fiber in ("A", "B")]
        import_table(database, write_text(apero / "calib.csv", rows))
        assert [record.fiber for record in database.records()] == ["A", "B"]
        assert stored_names(root) == ["loco.fits"]


class TestAllOrNothing:
    @pytest.fixture
    def refused(self, apero: Path, database: CalibrationDatabase, root: Path) -> Callable[..., str]:
        """Imports the good rows and a bad one, and gives the message."""

        def importing(*bad: Row) -> str:
            with pytest.raises(InputError) as caught:
                import_table(database, write_text(apero / "calib.csv", [*ROWS, *bad]))
            assert not (root / "calib").exists()
            return str(caught.value).replace(str(apero), "")

        return importing

    def test_unknown_keys(self, refused: Callable[..., str]) -> None:
        rows = [("WAVE", "AB", 0, "w.fits", HUMAN, NOON, "", "", 1), ("LEAK", "", 0, "l.fits", HUMAN, NOON, "", "", 1)]
        assert refused(*rows).startswith(
            "/calib.csv: 2 rows of keys that flatcore does not use: LEAK, WAVE; known keys are DARKREF, "
        )

    def test_missing_files(self, refused: Callable[..., str]) -> None:
        rows = [("BADPIX", "", 0, f"gone_{number:02}.fits", HUMAN, NOON, "", "", 1) for number in range(12)]
        message = refused(*rows)
        assert message.startswith(": 12 files of calib.csv missing: gone_00.fits, gone_01.fits, ")
        assert "gone_09.fits and 2 more; say where they are with --files, or leave them out with --skip" in message

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("FIBER", "NULL", "/calib.csv: row 4: FIBER has no value; a LOC file is of one fibre"),
            ("FILENAME", "", "/calib.csv: row 4: FILENAME has no value"),
            ("REFCAL", "maybe", "/calib.csv: row 4: REFCAL = 'maybe': expected 1 or 0, True or False"),
            ("USED", "", "/calib.csv: row 4: USED = '': expected 1 or 0, True or False"),
            ("UNIXTIME", "noon", "/calib.csv: row 4: UNIXTIME = 'noon' is not a time"),
            ("UNIXTIME", "1e300", "/calib.csv: row 4: UNIXTIME = '1e300' is not a time"),
        ],
    )
    def test_bad_rows(self, column: str, value: str, message: str, refused: Callable[..., str]) -> None:
        row = dict(zip(COLUMNS, ("LOC", "AB", 0, "loco.fits", HUMAN, NOON, "", "", 1), strict=True)) | {column: value}
        assert refused(tuple(row.values())) == message

    def test_no_time_at_all(self, refused: Callable[..., str]) -> None:
        row = ("LOC", "AB", 0, "loco.fits", "yesterday", None, "", "", 1)
        assert refused(row) == "/calib.csv: row 4: HUMANTIME = 'yesterday' is not a time"

    def test_different_file_in_the_store(
        self, apero: Path, database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        former = database.add(write_calibration(tmp_path / "dark.fits", 9.0))
        table = write_text(apero / "calib.csv", ROWS)
        with pytest.raises(InputError, match=r"apero/dark\.fits: the store has a different file of this name"):
            import_table(database, table)
        assert database.records() == [former]
        assert stored_names(root) == ["dark.fits"]
        import_table(database, table, replace=True)
        assert len(database.records()) == 4


class TestSkipping:
    def test_unknown(self, apero: Path, database: CalibrationDatabase) -> None:
        rows = [("WAVE", "AB", 0, "w.fits", HUMAN, NOON, "", "", 1), *ROWS, (None, "", 0, "x", "", "", "", "", "?")]
        imported = import_table(database, write_text(apero / "calib.csv", rows), skip_unknown=True)
        assert [(s.row, s.keyname, s.filename, s.reason) for s in imported.skipped] == [
            (1, "WAVE", "w.fits", "unknown key"), (5, "", "x", "unknown key")
        ]  # fmt: skip
        assert told(database) == EXPECTED

    def test_missing(self, apero: Path, database: CalibrationDatabase) -> None:
        (apero / "dark.fits").unlink()
        imported = import_table(database, write_text(apero / "calib.csv", ROWS), skip_missing=True)
        assert [(s.row, s.keyname, s.filename, s.reason) for s in imported.skipped] == [
            (3, "DARKREF", "dark.fits", "file missing")
        ]
        assert len(database.records()) == 2


class TestUnreadable:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "first line lacks the columns KEYNAME, FIBER, REFCAL"),
            (b"KEYNAME,FIBER,FILENAME\nLOC,AB,a.fits\n", "first line lacks the columns REFCAL, HUMANTIME, UNIXTIME"),
            (",".join(COLUMNS).encode() + b"\nLOC,AB\n", "row 1 has 2 values, expected 9"),
            (b'KEYNAME,"FIB\n', "cannot be read as a calibration table: unexpected end of data"),
            (b"\xff\xfe\x00", "cannot be read as a calibration table: 'utf-8' codec"),
            (b"SQLite format 3\x00" + b"broken" * 99, "cannot be read as a calibration table: file is not a database"),
        ],
    )
    def test_content(self, content: bytes, message: str, tmp_path: Path) -> None:
        (tmp_path / "calib.csv").write_bytes(content)
        with pytest.raises(InputError, match=rf"calib\.csv: .*{message}"):
            read_table(tmp_path / "calib.csv")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"calib\.db: no such file"):
            read_table(tmp_path / "calib.db")
        with pytest.raises(InputError, match=r"cannot be read as a calibration table: .*Is a directory"):
            read_table(tmp_path)

    def test_no_such_table(self, tmp_path: Path) -> None:
        path = write_sqlite(tmp_path / "calib.db", [], COLUMNS[:5])
        with pytest.raises(InputError, match=r"no table has the columns KEYNAME, .*; tables: other, CA\"LIB"):
            read_table(path)
