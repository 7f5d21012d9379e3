"""Errors of blaze and flat: (value - truth) / error over simulated nights and their noiseless twins."""

import numpy as np
import pytest

from flatcore import CalibrationDatabase, load_profile, run_night
from flatcore.simulate import SimulationOptions, simulate_night

OBS_DIR = "2020-08-31"
SEEDS = (41, 42, 43, 44)


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Results of each night and of its noiseless twin, and the truth."""
    found = []
    for seed in SEEDS:
        results = []
        for noise in (True, False):
            root = tmp_path_factory.mktemp(f"pulls{seed}")
            night = simulate_night(root, SimulationOptions(profile=load_profile("SMALL"), seed=seed, noise=noise))
            CalibrationDatabase.open(root).add_files(night.calibrations)
            results.append(run_night(OBS_DIR, data_root=root, settings={"output": {"save": False}}).images[0])
        found.append((*results, dict(np.load(night.truth))))
    return found


def check(pulls):
    pulls = np.concatenate([part[np.isfinite(part)] for part in pulls])
    assert pulls.size > 100_000
    assert 0.9 < pulls.std() < 1.1
    assert 0.64 < np.mean(np.abs(pulls) < 1) < 0.72


def test_of_the_flat(nights):
    check(
        [
            (noisy.fibers[name].flat.flat - perfect.fibers[name].flat.flat) / noisy.fibers[name].flat.flat_error
            for noisy, perfect, _ in nights
            for name in noisy.fibers
        ]
    )


def test_of_the_flat_against_the_true_response(nights):
    check(
        [
            (noisy.fibers[name].flat.flat - truth[f"response_{name}"]) / noisy.fibers[name].flat.flat_error
            for noisy, _, truth in nights
            for name in noisy.fibers
        ]
    )


def true_blaze(perfect, truth, name):
    """What was put in, on the scale of the extraction; an order's mean response is the blaze's."""
    blaze, response = truth[f"blaze_{name}"], truth[f"response_{name}"]
    scale = np.nanmedian(perfect.fibers[name].spectra.e2ds / (blaze * response), axis=1)
    return blaze * (scale * np.nanmean(response, axis=1))[:, None]


def test_of_the_blaze(nights):
    check(
        [
            (noisy.fibers[name].flat.blaze - true_blaze(perfect, truth, name)) / noisy.fibers[name].flat.blaze_error
            for noisy, perfect, truth in nights
            for name in noisy.fibers
        ]
    )


def test_the_blaze_has_no_bias(nights):
    """Under 0.1 %, in the mean over orders and nights, at any tenth of the columns."""
    for name in ("AB", "A", "B", "C"):
        ratio = np.concatenate(
            [noisy.fibers[name].flat.blaze / true_blaze(perfect, truth, name) - 1 for noisy, perfect, truth in nights]
        )
        for part in np.array_split(ratio, 10, axis=1):
            assert abs(np.nanmean(part)) < 0.001
