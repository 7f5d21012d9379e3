"""The folder of calibration files: taking in several at once, all of them or none."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from flatcore.caldb.incoming import FORMER, NEW, incoming
from flatcore.errors import InputError, OutputError
from flatcore.fitsio import sha256_of
from flatcore.writing import replacing

# Files copied at a time: most of it is waiting for the disk to have them.
COPIES = 4


class Delivery:
    """Files on their way into the store: staged as hidden copies, then placed under their names, then kept.

    Leaving the block before :meth:`keep` takes everything back; for one that is killed, see :func:`put_back`.

    Parameters
    ----------
    store
        The folder; created when the first file is staged.
    replace
        Let a file take the place of a different one of the same name.
    """

    def __init__(self, store: Path, replace: bool) -> None:
        self._store = store
        self._replace = replace
        self._staged: list[tuple[Path, Path]] = []
        self._at_home: list[tuple[Path, Path, str]] = []
        self._undo = contextlib.ExitStack()
        self._hidden = contextlib.ExitStack()
        self._incoming: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._hidden, contextlib.suppress(OSError):
            self._undo.close()

    def stage(self, sources: Sequence[Path]) -> list[str]:
        """Bring files to the store's disk without showing them, all refusals before the first copy.

        Returns
        -------
        list of str
            The SHA-256 of each file.

        Raises
        ------
        InputError
            Two of the files, or a file and the store's, have one name and different contents; or one is gone.
        OutputError
            The store cannot be written.
        """
        _refuse_namesakes(sources)
        at_home = {source: self._has(source, self._store / source.name) for source in sources}
        by_name = {source.name: source for source in reversed(sources)}
        for source in sources:
            if not at_home[source]:
                self._room(self._store / source.name)
        with ThreadPoolExecutor(COPIES) as pool:
            staged = {name: pool.submit(self._stage, source, at_home[source]) for name, source in by_name.items()}
        return [staged[source.name].result() for source in sources]

    def _stage(self, source: Path, at_home: bool) -> str:
        """Bring one file to the store's disk, if it is not there, and give its hash."""
        target = self._store / source.name
        if at_home:
            sha256 = _sha256_of_input(source)
            self._at_home.append((source, target, sha256))
        else:
            copy = self._copy(source, target)
            sha256 = sha256_of(copy)
            self._staged.append((copy, target))
        return sha256

    def place(self) -> None:
        """Give the staged copies their names.

        Raises
        ------
        InputError
            A different file has come into the store under one of the names since the copies were made.
        OutputError
            The store cannot be written.
        """
        for source, target, sha256 in self._at_home:
            self._stage_again(source, target, sha256)
        for copy, target in self._staged:
            if not self._has(copy, target):
                with _writing(target):
                    self._place(copy, target)

    def _stage_again(self, source: Path, target: Path, sha256: str) -> None:
        """Copy a file that the store had, if other processes have removed or replaced it since."""
        if target.exists() and sha256_of(target) == sha256:
            return
        if not source.exists() or (target.exists() and source.samefile(target)):
            raise InputError(f"{source}: changed or removed while it was being recorded")
        self._staged.append((self._copy(source, target), target))

    def keep(self) -> None:
        """Make what was placed final."""
        self._undo.pop_all()

    def _has(self, source: Path, target: Path) -> bool:
        """Tell whether the store has this very file, and refuse to lose a different one."""
        with _writing(target):
            if not target.exists():
                return False
            same = filecmp.cmp(source, target, shallow=False)
        if not same and not self._replace:
            raise InputError(
                f"{source}: the store has a different file of this name, {target}; rename one, or give --replace"
            )
        return same

    def _copy(self, source: Path, target: Path) -> Path:
        copy = self._room(target) / NEW / target.name
        with _writing(target), replacing(copy) as temporary:
            shutil.copyfile(source, temporary)
        return copy

    def _place(self, copy: Path, target: Path) -> None:
        if target.exists():
            former = self._room(target) / FORMER / target.name
            former.parent.mkdir(exist_ok=True)
            shutil.copy2(target, former)
            self._undo.callback(former.replace, target)
        else:
            self._undo.callback(target.unlink, missing_ok=True)
        copy.replace(target)

    def _room(self, target: Path) -> Path:
        """Give the delivery's own folder; the first file that needs it names it in a failure."""
        if self._incoming is None:
            with _writing(target):
                self._incoming = self._hidden.enter_context(incoming(self._store))
        return self._incoming


def _sha256_of_input(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def put_back(former: Path, target: Path, recorded: Collection[str]) -> None:
    """Undo what a killed delivery has placed and not recorded, if the file that was replaced is the recorded one.

    Parameters
    ----------
    former
        What was replaced.
    target
        Its place in the store.
    recorded
        SHA-256 of the contents that are in use under that name.

    Raises
    ------
    OutputError
        The store cannot be written.
    """
    with _writing(target):
        known = target.exists() and sha256_of(target) in recorded
        if not known and sha256_of(former) in recorded:
            former.replace(target)


def delete(path: Path) -> bool:
    """Delete a file of the store, and tell whether it was there.

    Raises
    ------
    OutputError
        It cannot be deleted.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path}: recorded no more, but the file cannot be deleted: {error.strerror or error}"
        ) from error
    return True


def _refuse_namesakes(sources: Sequence[Path]) -> None:
    """Refuse different files of one name: the store has room for one.

    Raises
    ------
    InputError
        Naming both.
    """
    by_name: dict[str, Path] = {}
    for source in sources:
        other = by_name.setdefault(source.name, source)
        if other != source and not filecmp.cmp(other, source, shallow=False):
            raise InputError(f"{source}: has the name of {other}, which is a different file; rename one of them")


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Name the file as the store will have it in any failure, not the hidden copy."""
    try:
        yield
    except OutputError as error:
        raise _unwritable(target, error.__cause__ or error) from error
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: BaseException) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return OutputError(f"{target}: cannot be written: {reason}")
