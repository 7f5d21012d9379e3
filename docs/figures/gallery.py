"""Draw the figures of docs/figures.md: `python docs/figures/gallery.py NIGHT`, from the project's folder.

NIGHT holds `tmp/2019-03-14/`, `calib/` and `instrument.toml`: three flats of a laboratory échelle. The figure of the
change since an earlier night is of two halves of a simulated night, for there is one real night only.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from flatcore import CalibrationDatabase, load_profile, plots, run_night
from flatcore.plots import background, style
from flatcore.plots.view import ImageView
from flatcore.previous import Previous, changes
from flatcore.simulate import SimulationOptions, simulate_night

HERE = Path(__file__).parent
WIDTH = 880
ORDER = 8
GREYS = 24
COLOURS = (
    *(style.ORANGE, style.SKY, style.GREEN, style.BLUE, style.VERMILION, style.PURPLE),
    background.ORDERS,
)


def main(night: Path) -> None:
    """Draw everything."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(night / "tmp", root / "tmp", copy_function=shutil.copyfile)
        calibrations = [Path(shutil.copyfile(path, root / path.name)) for path in (night / "calib").glob("*.fits")]
        image = ran(root, "2019-03-14", sorted(calibrations), night / "instrument.toml")
    with matplotlib.style.context("default"):
        for name, figure in gallery(image):
            save(figure, name)
        save(change(), "previous")


def ran(
    root: Path, obs_dir: str, calibrations: Iterable[Path], instrument: str | Path, frames: Iterable[Path] = ()
) -> ImageView:
    """Run a night, or some frames of it, and give what its figures show."""
    (root / "calib").mkdir(exist_ok=True)
    CalibrationDatabase.open(root).add_files(calibrations)
    # No order is too faint: all keep their own blaze, and are compared with the model of all.
    saved = {"output": {"save": False}, "blaze": {"model": "faint-global"}}
    result = run_night(
        obs_dir, [str(path) for path in frames], data_root=root, instrument=instrument, settings=saved, keep_images=True
    )
    return plots.image_view(result, result.images[0], result.traces, load_profile(instrument))


def gallery(image: ImageView) -> Iterator[tuple[str, Figure]]:
    """Give each figure of the real night, and its name."""
    (view,) = image.fibers
    yield "edges1", plots.edges_overview_figure(view)
    yield "edges2", plots.edges_order_figure(view, ORDER)
    yield "blaze1", plots.blaze_overview_figure(view)
    yield "blaze2", plots.blaze_order_figure(view, ORDER)
    yield "image", plots.flat_image_figure(view)
    yield "histogram", plots.flat_histogram_figure(view)
    yield "quality", plots.quality_figure(view)
    yield "parameters", plots.parameters_figure(view)
    yield "global", plots.compared_figure(view)
    yield "background", plots.background_figure(image)
    yield "frames", plots.frames_figure(image)


def change() -> Figure:
    """Draw how half of the frames of a simulated night differ from the other half."""
    with tempfile.TemporaryDirectory() as folder:
        options = SimulationOptions(profile=load_profile("SMALL"), seed=1, frames=8)
        made = simulate_night(Path(folder), options)
        halves = sorted(made.frames)[:4], sorted(made.frames)[4:]
        images = [ran(Path(folder), "2020-08-31", made.calibrations, "SMALL", half) for half in halves]
    earlier, view = (image.fibers[0] for image in images)
    previous = Previous("earlier_flat_AB.fits", 1.0, earlier.flat.flat, earlier.flat.blaze)
    return plots.previous_figure(replace(view, previous=previous, change=changes(view.flat, previous)))


def save(figure: Figure, name: str) -> None:
    """Write a figure beside this file, small, and with few colours."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        size = WIDTH, round(WIDTH * image.height / image.width)
        few = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    path = HERE / f"figure_{name}.png"
    few.quantize(palette=palette(), dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def palette() -> Image.Image:
    """Give the colours of the figures, in full and mixed with white and with black, and grey levels."""
    full = [tuple(round(255 * part) for part in to_rgb(colour)) for colour in COLOURS]
    mixed = [
        [round(share * part + (1 - share) * other) for part in colour]
        for colour in full
        for other, share in ((255, 1.0), (255, 0.65), (255, 0.35), (0, 0.5))
    ]
    greys = [[level] * 3 for level in np.linspace(0, 255, GREYS).round().astype(int).tolist()]
    holder = Image.new("P", (1, 1))
    holder.putpalette([part for colour in [*mixed, *greys] for part in colour])
    return holder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
