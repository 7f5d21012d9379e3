"""What a run hands to the processes that draw its figures: a pickle, with every large array in a file of its own.

The processes map those files into memory, so that however many draw, an image is there once.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flatcore.instrument import Profile
from flatcore.previous import Previous
from flatcore.results import FiberResult, ImageResult, NightResult
from flatcore.settings import Settings

PICKLE = "drawing.pickle"
# Arrays from this size on are mapped [bytes].
LARGE = 1 << 16


@dataclass(frozen=True)
class Drawing:
    """All that the figures of a run show, and which of them are asked for.

    Attributes
    ----------
    result
        The night, run with its images kept.
    profile, settings
        As the run used them.
    previous
        By stem of the image and fibre, the earlier night's flat and blaze, where there are such.
    folder
        Where the figures go.
    level
        As of ``--plot``: 2, 3 or 4.
    """

    result: NightResult
    profile: Profile
    settings: Settings
    previous: Mapping[str, Mapping[str, Previous]]
    folder: Path
    level: int


def save_drawing(drawing: Drawing, folder: Path) -> None:
    """Write what is to be drawn into an empty folder; rows of spectra that no figure shows stay behind."""
    result = replace(drawing.result, images=tuple(_shown(image) for image in drawing.result.images))
    with (folder / PICKLE).open("wb") as file:
        _Pickler(file, folder).dump(replace(drawing, result=result))


def load_drawing(folder: Path) -> Drawing:
    """Read what :func:`save_drawing` wrote; its large arrays are read-only."""
    with (folder / PICKLE).open("rb") as file:
        drawing = _Unpickler(file, folder).load()
    if not isinstance(drawing, Drawing):
        raise TypeError(f"{folder / PICKLE}: holds {type(drawing).__name__}, expected a Drawing")
    return drawing


def _shown(image: ImageResult) -> ImageResult:
    return replace(image, fibers={name: _without_rows(fiber) for name, fiber in image.fibers.items()})


def _without_rows(fiber: FiberResult) -> FiberResult:
    spectra = fiber.spectra
    return replace(fiber, spectra=replace(spectra, e2dsll=spectra.e2dsll[:0], e2dscc=spectra.e2dscc[:0]))


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, folder: Path) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._folder = folder
        self._names: dict[int, str] = {}

    def persistent_id(self, obj: Any) -> str | None:
        if not isinstance(obj, np.ndarray) or obj.nbytes < LARGE or obj.dtype.hasobject:
            return None
        if id(obj) not in self._names:
            name = f"{len(self._names)}.npy"
            np.save(self._folder / name, obj, allow_pickle=False)
            self._names[id(obj)] = name
        return self._names[id(obj)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, folder: Path) -> None:
        super().__init__(file)
        self._folder = folder

    def persistent_load(self, pid: Any) -> Any:
        return np.asarray(np.load(self._folder / pid, mmap_mode="r"))
