"""Draw the figures of docs/method.md: `python docs/figures/method.py`, from the project's folder."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[2]))

from flatcore import CalibrationDatabase, load_profile, run_night
from flatcore.blaze import fit_blaze, fit_orders
from flatcore.instrument import Blaze
from flatcore.results import ImageResult
from flatcore.settings import BlazeSettings
from flatcore.simulate import SimulationOptions, simulate_night
from tests.faults import DAMAGED, FAULTS, blaze_of, fibre

HERE = Path(__file__).parent
# Okabe & Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREY, BLACK = "#0072B2", "#D55E00", "#999999", "#000000"
SHOWN = (
    ("dead_block", "a block of dead columns"),
    ("absorption_bands", "absorption bands"),
    ("dead_right_half", "half of the order without a value"),
    ("forty_finite_pixels", "forty columns left"),
    ("doubled_lamp", "a second lamp over half of the order"),
    ("no_light", "no light"),
)
SEEDS = range(60, 66)


def ladder() -> None:
    """Draw damaged orders and what becomes of them."""
    e2ds, truth = fibre()
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    for axes, (name, words) in zip(figure.subplots(3, 2, sharex=True, sharey="row").flat, SHOWN, strict=True):
        broken = e2ds.copy()
        broken[DAMAGED] = FAULTS[name].damage(e2ds[DAMAGED], np.random.default_rng(9))
        fit = fit_orders(broken, Blaze(), BlazeSettings(), 2)[DAMAGED]
        axes.plot(broken[DAMAGED] / 1e3, ".", color=GREY, markersize=2, label="E2DS")
        axes.plot(truth[DAMAGED] / 1e3, color=BLUE, linewidth=2.5, alpha=0.5, label="true blaze")
        axes.plot(fit.blaze / 1e3, color=ORANGE, linewidth=1.2, label="blaze")
        robust = ", robust" if fit.loss == "soft_l1" and fit.rung < 4 else ""
        axes.set_title(f"{words}: {fit.rung.words}{robust}", fontsize=10)
        axes.set_ylim(-5, 130 if name in ("doubled_lamp", "no_light") else 70)
        axes.set_xlabel("column [pixel]")
        axes.set_ylabel("flux [1000 electrons]")
        axes.label_outer()
    axes.legend(loc="upper right", fontsize=8)
    save(figure, "ladder")


def ends() -> None:
    """Draw what a one-sided median does to the blaze at an order's ends."""
    truth = blaze_of(DAMAGED)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=0.6)
    for fitted, colour, words in ((True, ORANGE, "ends fitted (as the recipe in use)"), (False, BLUE, "ends left out")):
        ratio = fit_blaze(truth, Blaze(), BlazeSettings(fit_ends=fitted)).blaze / truth - 1
        axes.plot(100 * ratio, color=colour, label=f"{words}: up to {100 * np.abs(ratio).max():.2g} %")
    axes.set_xlabel("column [pixel]")
    axes.set_ylabel("blaze / true blaze − 1 [%]")
    axes.legend()
    save(figure, "ends")


def pulls() -> None:
    """Draw (value - truth) / error of spectrum, flat and blaze."""
    found: dict[str, list[np.ndarray]] = {"spectrum": [], "flat": [], "blaze": []}
    for seed in SEEDS:
        (noisy, truth), (perfect, _) = (night(seed, noise) for noise in (True, False))
        for name, fiber in noisy.fibers.items():
            twin, blaze, response = perfect.fibers[name], truth[f"blaze_{name}"], truth[f"response_{name}"]
            scale = np.nanmedian(twin.spectra.e2ds / (blaze * response), axis=1) * np.nanmean(response, axis=1)
            found["spectrum"].append((fiber.spectra.e2ds - twin.spectra.e2ds) / fiber.spectra.e2ds_error)
            found["flat"].append((fiber.flat.flat - twin.flat.flat) / fiber.flat.flat_error)
            found["blaze"].append((fiber.flat.blaze - blaze * scale[:, None]) / fiber.flat.blaze_error)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    grid = np.linspace(-4, 4, 81)
    for axes, (name, parts) in zip(figure.subplots(1, 3, sharey=True), found.items(), strict=True):
        values = np.concatenate([part[np.isfinite(part)] for part in parts])
        axes.hist(values, grid, density=True, color=BLUE, alpha=0.6)
        axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color=BLACK, linewidth=1)
        within = np.mean(np.abs(values) < 1)
        axes.set_title(f"{name}: σ = {values.std():.2f}, {within:.1%} within 1", fontsize=10)
        axes.set_xlabel("(value − truth) / error")
        print(f"{name}: {values.size} values, standard deviation {values.std():.3f}, {within:.3f} within one error")
    figure.axes[0].set_ylabel("density")
    save(figure, "pulls")


def night(seed: int, noise: bool) -> tuple[ImageResult, dict[str, np.ndarray]]:
    """Simulate a small night and run it."""
    with tempfile.TemporaryDirectory() as root:
        made = simulate_night(Path(root), SimulationOptions(profile=load_profile("SMALL"), seed=seed, noise=noise))
        CalibrationDatabase.open(root).add_files(made.calibrations)
        result = run_night("2020-08-31", data_root=root, settings={"output": {"save": False}})
        return result.images[0], dict(np.load(made.truth))


def save(figure: Figure, name: str) -> None:
    """Write a figure beside this file."""
    figure.savefig(HERE / f"{name}.png", dpi=110)


if __name__ == "__main__":
    mpl.rcParams["font.size"] = 9
    ladder()
    ends()
    pulls()
