"""Ninth stage: results to FITS products."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from flatcore.clock import Clock
from flatcore.fitsio import read_header, read_image
from flatcore.hdu import Hdu
from flatcore.images import BackgroundMaps, CombinedImage, Image
from flatcore.products.context import RunContext, new_pid
from flatcore.products.debug import write_intermediates
from flatcore.products.hdus import Shared, background_hdus, fiber_hdus, orderps_hdus, shared_parts
from flatcore.results import FiberResult, FrameCheck, Product
from flatcore.version import VERSION
from flatcore.writing import FileSet

__all__ = [
    "ProductWriter",
    "RunContext",
    "flat_name",
    "is_kept",
    "new_pid",
    "read_straight_profile",
    "straight_profile_path",
    "write_intermediates",
]

SUFFIXES = {"FF_FLAT": "flat", "FF_BLAZE": "blaze", "EXT_E2DS_LL": "e2dsll"}


class ProductWriter:
    """An image's products, written in the background while the next are computed.

    A context. All products are complete on disk before the first appears under its name, by :meth:`finish`; without
    that none does, and nothing is left behind. A run that saves nothing writes nothing.

    Parameters
    ----------
    combined
        The image.
    run
        What every product says of the run.
    clock
        Takes the time that the caller spends here as the stage ``products``.
    frames
        Each frame held to the combined image.
    """

    def __init__(
        self, combined: CombinedImage, run: RunContext, clock: Clock, frames: Sequence[FrameCheck] = ()
    ) -> None:
        self._combined, self._run, self._clock, self._frames = combined, run, clock, frames
        self._saves = run.settings.output.save
        self._files = FileSet()
        self._planned: list[tuple[str, str, Path]] = []

    def __enter__(self) -> Self:
        self._files.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, traceback)

    @cached_property
    def _shared(self) -> Shared:
        return shared_parts(self._combined, self._frames, self._run)

    def add_profiles(self, straight_profiles: Mapping[str, Image]) -> None:
        """Begin to write straightened order profiles, by fibre.

        Raises
        ------
        OutputError
            The folder does not take a file.
        """
        if not self._saves:
            return
        with self._clock.stage("products"):
            for fiber, image in straight_profiles.items():
                hdus = orderps_hdus(self._shared, fiber, image, _profile_hash(self._run, fiber))
                self._add("ORDERP_STRAIGHT", fiber, _kept_path(self._run, fiber), hdus)

    def add_background(self, maps: BackgroundMaps | None) -> None:
        """Begin to write the maps of the background, if there are any and they are asked for.

        Raises
        ------
        OutputError
            The folder does not take a file.
        """
        if not self._saves or maps is None or not self._run.settings.output.background:
            return
        with self._clock.stage("products"):
            self._add("DEBUG_BACK", "", self._path("background"), background_hdus(self._shared, maps))

    def add_fiber(self, result: FiberResult) -> None:
        """Begin to write a fibre's products.

        Raises
        ------
        OutputError
            The folder does not take a file.
        """
        if not self._saves:
            return
        with self._clock.stage("products"):
            fiber = result.spectra.fiber
            for kind, hdus in fiber_hdus(self._shared, result).items():
                self._add(kind, fiber, self._path(f"{SUFFIXES[kind]}_{fiber}"), hdus)

    def finish(self) -> tuple[Product, ...]:
        """Wait until all products are complete on disk, and let them appear.

        Raises
        ------
        OutputError
            A product cannot be written; none is left behind.
        """
        if not self._saves:
            return ()
        with self._clock.stage("products"):
            hashes = self._files.appear()
        return tuple(Product(kind, fiber, path, hashes[path]) for kind, fiber, path in self._planned)

    def _path(self, suffix: str) -> Path:
        return self._run.folder / f"{self._combined.stem}_{suffix}.fits"

    def _add(self, kind: str, fiber: str, path: Path, hdus: Sequence[Hdu]) -> None:
        self._files.add(path, hdus)
        self._planned.append((kind, fiber, path))


def flat_name(stem: str, fiber: str) -> str:
    """Name of a fibre's flat."""
    return f"{stem}_{SUFFIXES['FF_FLAT']}_{fiber}.fits"


def straight_profile_path(folder: Path, shapel: Path, fiber: str) -> Path:
    """Where a fibre's straightened order profile is kept; named from the SHAPEL file."""
    return folder / f"{shapel.name.split('.fits')[0]}_orderps_{fiber}.fits"


def _kept_path(run: RunContext, fiber: str) -> Path:
    return straight_profile_path(run.folder, run.calibrations.file("SHAPEL").path, fiber)


def is_kept(run: RunContext, fiber: str) -> bool:
    """Tell whether a straightened order profile is kept that was made from the same files."""
    path = _kept_path(run, fiber)
    return path.is_file() and read_header(path).get("CDBHASH") == _profile_hash(run, fiber)


def read_straight_profile(run: RunContext, fiber: str) -> Image:
    """Read a kept straightened order profile."""
    return read_image(_kept_path(run, fiber))[1]


def _profile_hash(run: RunContext, fiber: str) -> str:
    """Hash the files a straightened order profile is made from, and of the version that made it."""
    source = run.profile.fibers[fiber].localisation
    files = [run.calibrations.file(key) for key in ("SHAPEL", "SHAPEX", "SHAPEY")]
    files.append(run.calibrations.file("ORDER_PROFILE", source))
    return hashlib.blake2b(" ".join([VERSION, *(f.sha256 for f in files)]).encode(), digest_size=16).hexdigest()
