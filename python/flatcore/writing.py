"""Whole files or none: written aside, on the disk before they are renamed, and several of them together."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from flatcore import _core
from flatcore.errors import OutputError
from flatcore.hdu import Hdu

# Files written at the same time: one is converted while the disk takes another, and the kernels keep their cores.
WRITERS = 2


class FileSet:
    """FITS files that are written in the background, and appear under their names together or not at all.

    A context: files that have not appeared when it ends are removed.

    Examples
    --------
    >>> with FileSet() as files:
    ...     files.add(path, hdus)
    ...     hashes = files.appear()
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="flatcore-writer")
        self._hashes: dict[Path, Future[str]] = {}
        self._temporary: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # A file that is being written is waited for: it cannot be removed for good before.
            self._pool.shutdown(cancel_futures=True)
        finally:
            for temporary in self._temporary:
                _remove(temporary)

    def add(self, path: Path, hdus: Sequence[Hdu]) -> None:
        """Begin to write a file of HDUs with checksums; their values must not change until it has appeared.

        Raises
        ------
        OutputError
            The file's folder cannot be made, or a folder has its name.
        """
        parts = [(hdu.header, hdu.values) for hdu in hdus]
        with _output_errors(path):
            _make_room(path)
        temporary = _temporary_path(path)
        self._temporary.append(temporary)
        self._hashes[path] = self._pool.submit(_core.write_fits, str(temporary), parts)

    def appear(self) -> dict[Path, str]:
        """Wait until every file is complete on the disk, then give each its name.

        Returns
        -------
        dict
            The files' SHA-256.

        Raises
        ------
        OutputError
            The disk does not take a file; none has appeared, unless the system failed between the renames themselves.
        """
        hashes = {}
        for path, written in self._hashes.items():
            # A disk that reports late that it is full does so before any file has appeared.
            with _output_errors(path):
                hashes[path] = written.result()
        for path in hashes:
            with _output_errors(path):
                _temporary_path(path).replace(path)
        return hashes


def write_together(files: Mapping[Path, Sequence[Hdu]]) -> dict[Path, str]:
    """Write files of HDUs with checksums; all are complete on disk before the first appears under its name.

    Returns
    -------
    dict
        The files' SHA-256.

    Raises
    ------
    OutputError
        The folder or the disk does not take a file; none is left half-written, and none appears unless the system
        fails between the renames themselves.
    """
    with FileSet() as together:
        for path, hdus in files.items():
            together.add(path, hdus)
        return together.appear()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name in the file's folder, and rename it to the file when the block ends well.

    Raises
    ------
    OutputError
        The folder or the disk does not take the file; nothing is left behind.
    """
    temporary = _temporary_path(path)
    try:
        with _output_errors(path):
            _make_room(path)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        _remove(temporary)


def _temporary_path(path: Path) -> Path:
    """Give the name that a file has until it is complete; the same for a run and a later one of the same process."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        # Found out now, not when other files of the same set already have their names.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Name the file that could not be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
