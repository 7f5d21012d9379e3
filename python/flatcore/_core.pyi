"""Typed face of the Rust extension.

Every function takes C-contiguous arrays of the dtype named and returns new ones. A wrong shape or number raises
ValueError, a file that cannot be read OSError.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Source = tuple[str, int, tuple[int, int], int, float, float, int | None]
# E2DS, its variance, E2DSLL, E2DSCC, and the pixels left out of each order.
_Spectra = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32], NDArray[np.uint8], list[int]]

def set_threads(count: int) -> None: ...
def threads() -> int: ...
def read_pixels(source: _Source) -> NDArray[np.float32]: ...
def write_fits(
    path: str,
    hdus: Sequence[tuple[bytes, NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32] | NDArray[np.float64]]],
) -> str: ...
def read_mask(source: _Source) -> NDArray[np.uint8]: ...
def read_rows(source: _Source, rows: Sequence[int]) -> NDArray[np.float32]: ...
def combine_files(
    sources: Sequence[_Source], method: str, clip_sigma: float, electrons: float, readnoise: float
) -> NDArray[np.float32]: ...
def combine_frames(
    frames: Sequence[NDArray[np.float32]], method: str, clip_sigma: float, electrons: float, readnoise: float
) -> NDArray[np.float32]: ...
def median_distance(
    sources: Sequence[_Source], factors: Sequence[float], centre: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def row_medians(image: NDArray[np.float32], half: int) -> NDArray[np.float32]: ...
def curve_medians(
    image: NDArray[np.float32], dymap: NDArray[np.float32], wanted: NDArray[np.uint8], half: int
) -> NDArray[np.float32]: ...
def unlit_mask(
    image: NDArray[np.float32],
    box_size: int,
    percent: float,
    window: int,
    least: int,
    dymap: NDArray[np.float32] | None,
) -> NDArray[np.uint8]: ...
def to_electrons(
    image: NDArray[np.float32],
    bounds: tuple[float, float] | None,
    dark: NDArray[np.float32] | None,
    flip_y: bool,
    flip_x: bool,
    factor: float,
    rows: tuple[int, int],
    columns: tuple[int, int],
    bad: NDArray[np.uint8] | None,
) -> NDArray[np.float32]: ...
def apply_bounds(image: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]: ...
def scattered_light(
    image: NDArray[np.float32], amplitude: float, kernel_y: float, kernel_x: float, kernel_sigma: float
) -> NDArray[np.float32]: ...
def global_background(
    image: NDArray[np.float32], unlit: NDArray[np.uint8], box_size: int, passes: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]: ...
def background_map(cells: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float32]: ...
def subtract_background(
    image: NDArray[np.float32],
    unlit: NDArray[np.uint8],
    scattered: tuple[float, float, float, float] | None,
    box_size: int,
    passes: int,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]: ...
def subtract_background_in_place(
    image: NDArray[np.float32],
    unlit: NDArray[np.uint8],
    scattered: tuple[float, float, float, float] | None,
    box_size: int,
    passes: int,
) -> NDArray[np.float64]: ...
def repair_hot_pixels(
    image: NDArray[np.float32], bad: NDArray[np.uint8], threshold: float, bounds: tuple[float, float] | None = None
) -> NDArray[np.float32]: ...
def repair_hot_pixels_in_place(
    image: NDArray[np.float32], bad: NDArray[np.uint8], threshold: float, bounds: tuple[float, float] | None = None
) -> None: ...
def pixels_above(
    image: NDArray[np.float32],
    limit: float,
    flip_y: bool,
    flip_x: bool,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> NDArray[np.int64]: ...
def effective_readnoise(image: NDArray[np.float32], unlit: NDArray[np.uint8]) -> float: ...
def straighten(
    image: NDArray[np.float32], linear: Sequence[float], dxmap: NDArray[np.float32], dymap: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def extract_orders(
    image: NDArray[np.float32],
    profile: NDArray[np.float32],
    windows: Sequence[tuple[int, int]],
    threshold: float | None,
    inverse_variance: bool,
    noise: tuple[float, float],
    linear: Sequence[float],
    dxmap: NDArray[np.float32],
    dymap: NDArray[np.float32],
) -> _Spectra: ...
def extract_direct(
    image: NDArray[np.float32],
    profile: NDArray[np.float32],
    windows: Sequence[tuple[int, int]],
    threshold: float | None,
    noise: tuple[float, float],
    linear: Sequence[float],
    dxmap: NDArray[np.float32],
    dymap: NDArray[np.float32],
) -> tuple[_Spectra, NDArray[np.bool_]]: ...
def window_planes(
    image: NDArray[np.float32],
    profile: NDArray[np.float32],
    windows: Sequence[tuple[int, int]],
    linear: Sequence[float],
    dxmap: NDArray[np.float32],
    dymap: NDArray[np.float32],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]: ...
def column_blocks(image: NDArray[np.float32], width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def straight_profiles(
    image: NDArray[np.float32], traces: NDArray[np.float64], half: int, width: int
) -> NDArray[np.float32]: ...
def mean_profiles(
    profiles: NDArray[np.float32], reach: NDArray[np.int64], sloped: Sequence[bool]
) -> NDArray[np.float64]: ...
def coarse_shifts(
    profiles: NDArray[np.float32], means: NDArray[np.float64], reach: NDArray[np.int64], most: Sequence[int]
) -> NDArray[np.float64]: ...
def fit_profiles(
    profiles: NDArray[np.float32],
    means: NDArray[np.float64],
    reach: NDArray[np.int64],
    sloped: Sequence[bool],
    noise: tuple[float, float, float],
    share: float,
) -> NDArray[np.float64]: ...
def running_nan_median(row: NDArray[np.float64], width: int) -> NDArray[np.float64]: ...
def robust_sigma(values: NDArray[np.float64]) -> float: ...
def box_medians(values: NDArray[np.float64], boxes: int) -> NDArray[np.float64]: ...
def slow_part(flat: NDArray[np.float64], width: int) -> NDArray[np.float64]: ...
def sinc2(x: NDArray[np.float64], parameters: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def sinc2_jacobian(x: NDArray[np.float64], parameters: Sequence[float]) -> NDArray[np.float64]: ...
def sinc2_triangle(
    x: NDArray[np.float64],
    flux: NDArray[np.float64],
    parameters: Sequence[float],
    scale: Sequence[float],
    unit: float,
) -> NDArray[np.float64]: ...
def sinc2_fit(
    problem: tuple[NDArray[np.float64], NDArray[np.float64], Sequence[float], float],
    start: Sequence[float],
    limits: tuple[Sequence[float], Sequence[float]],
    tolerance: float,
    most: int,
    columns_per_bin: int,
) -> tuple[list[float], int, bool]: ...
def set_wide(wide: bool) -> None: ...
