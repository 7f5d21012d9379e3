"""Run a night again and again in forked children, and kill each at a random moment.

A process of its own, which has imported everything and started no thread before it forks.

Usage: python -m tests.cli.killer DATA_ROOT OBS_DIR TIMES LONGEST_S SEED
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import scipy.optimize  # noqa: F401 - a run imports it when it needs it
from astropy.io import fits

from flatcore.request import NightRequest
from flatcore.session import run_session


def killed_run(request, seconds):
    """Kill a run after so many seconds; True if it was done before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run_session(request)
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def main(root, obs_dir, times, longest, seed):
    """Print the number of runs that were done before they were killed."""
    chance = random.Random(seed)
    red = root / "red" / obs_dir
    request = NightRequest(obs_dir, root, fiber="C", threads=2)
    finished = 0
    for i in range(times):
        finished += killed_run(request, chance.uniform(0, longest))
        for path in red.glob("*.fits"):
            # What is there under its name is whole: every HDU with its checksum, which astropy warns of otherwise.
            with fits.open(path, checksum=True, lazy_load_hdus=False) as hdus:
                if len(hdus) < 2:
                    raise AssertionError(f"{path} is not whole")
        if i % 10 == 0:
            for path in red.glob("*.fits"):
                path.unlink()
    print(finished)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
