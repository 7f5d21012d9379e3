"""What kind a frame is, and whether all of it is there."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from astropy.io.fits import Header, VerifyError
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from flatcore.assembly import header_with
from flatcore.errors import InputError
from flatcore.frames import FLAT_KINDS
from flatcore.instrument.keywords import Source

BLOCK = 2880
# Headers that have what flatcore reads under its own names.
NOTHING: Mapping[str, Source] = {}
_GZIP = b"\x1f\x8b"

# A file may be read while it is written: any of these says that it cannot be understood, yet.
_UNREADABLE = (OSError, EOFError, zlib.error, VerifyError, ValueError, KeyError, TypeError)


class _Stream(Protocol):
    """Bytes of a file, uncompressed or not."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


@dataclass(frozen=True)
class Look:
    """What is seen in a file.

    Attributes
    ----------
    kind
        DPRTYPE of a preprocessed flat; empty for a file of another kind; None where it cannot be told yet.
    fault
        What is missing of it, in words; None for a whole file.
    """

    kind: str | None
    fault: str | None


def look_into(path: Path, keywords: Mapping[str, Source] = NOTHING) -> Look:
    """Read a file's headers, and tell whether it is as long as they say; a compressed one is read to its end.

    No pixel is looked at. A file that has zeros where a header should be was only given its room in advance.

    Parameters
    ----------
    keywords
        Where an instrument's headers have what flatcore reads, as its profile tells.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return Look(None, "is empty")
            if _starts_with(file, _GZIP):
                with gzip.GzipFile(fileobj=file) as stream:
                    return _look(stream, None, _Walk(path, keywords))
            return _look(file, size, _Walk(path, keywords))
    except FileNotFoundError:
        return Look(None, "is gone")
    except OSError as error:
        return Look(None, f"cannot be read: {error}")


def _look(stream: _Stream, size: int | None, walk: _Walk) -> Look:
    """Look into a file's bytes; their number, where it is None, is that of all that can be uncompressed."""
    try:
        walk.over(stream)
        if size is None:
            # To the end, where the check sum stands.
            while stream.read(1 << 20):
                pass
            size = stream.tell()
    except _UNREADABLE as error:
        return Look(walk.kind, f"cannot be read to its end: {error}")
    if walk.end > size:
        return Look(walk.kind, f"ends at byte {size}, its headers declare {walk.end}")
    if walk.hollow:
        return Look(walk.kind, f"has zeros from byte {walk.end} on, where a header or its end should be")
    if not walk.has_image and (walk.kind or walk.headers == 1):
        return Look(walk.kind, "has no image")
    return Look(walk.kind or "", None)


def kind_of(path: Path, keywords: Mapping[str, Source] = NOTHING) -> str | None:
    """Give the kind of a file as :class:`Look` has it, without going beyond the headers that are needed for it."""
    walk = _Walk(path, keywords, only_kind=True)
    try:
        with path.open("rb") as file:
            stream: _Stream = gzip.GzipFile(fileobj=file) if _starts_with(file, _GZIP) else file
            walk.over(stream)
    except _UNREADABLE:
        # What the first headers told stands, whatever follows them.
        return walk.kind
    return walk.kind


def _starts_with(file: IO[bytes], magic: bytes) -> bool:
    start = file.read(len(magic))
    file.seek(0)
    return start == magic


class _Walk:
    """A walk over a file's headers.

    Attributes
    ----------
    kind
        As of :class:`Look`, by the first header that tells.
    has_image
        Whether a header of an image was seen.
    headers
        How many were.
    end
        Byte at which the data of the last of them end.
    hollow
        Whether zeros follow it.
    """

    def __init__(self, path: Path, keywords: Mapping[str, Source], only_kind: bool = False) -> None:
        self._path, self._keywords, self._only_kind = path, keywords, only_kind
        self.kind: str | None = None
        self.has_image = self.hollow = False
        self.headers = self.end = 0

    def over(self, stream: _Stream) -> None:
        """Go over the headers, until they end or no other is needed.

        Raises
        ------
        OSError, EOFError, ...
            A header cannot be read.
        """
        while not (self._only_kind and (self.kind is not None or self.has_image)):
            stream.seek(self.end)
            block = stream.read(BLOCK)
            if self.headers == 0 and not block.startswith(b"SIMPLE  ="):
                raise OSError(f"it begins with {block[:9]!r}, expected b'SIMPLE  ='")
            if self.headers > 0 and not block.startswith(b"XTENSION"):
                self.hollow = block.startswith(bytes(8))
                return
            header = _header(block, stream)
            self.headers += 1
            self.has_image = self.has_image or header.get("NAXIS", 0) >= 2 or bool(header.get("ZIMAGE", False))
            if self.kind is None:
                self.kind = self._kind(header)
            self.end = stream.tell() + int(header.data_size_padded)

    def _kind(self, header: Header) -> str | None:
        """Give the kind by a header; None where one after it may tell."""
        if str(header.get("DRSOUTID", "DRS_PP")).strip() != "DRS_PP":
            return ""
        told = {keyword: source for keyword, source in self._keywords.items() if keyword == "DPRTYPE"}
        # A header that lacks what the profile asks for is one before that which has it, or of another kind.
        with contextlib.suppress(InputError):
            header = header_with(header, told, self._path)
        if "DPRTYPE" in header:
            kind = str(header["DPRTYPE"]).strip()
            return kind if kind in FLAT_KINDS else ""
        return "" if self.has_image else None


def _header(block: bytes, stream: _Stream) -> Header:
    blocks = bytearray(block)
    while not any(block[i : i + 8] == b"END     " for i in range(0, len(block), 80)):
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise EOFError(f"it ends {len(blocks) + len(block)} bytes into a header")
        blocks += block
    with warnings.catch_warnings():
        # Faults of single cards are told by the run, where they matter.
        warnings.simplefilter("ignore", VerifyWarning)
        warnings.simplefilter("ignore", AstropyUserWarning)
        return Header.fromfile(io.BytesIO(bytes(blocks)))
