"""NaN is data here: silence NumPy's remarks about all-NaN slices and divisions by zero."""

import functools
import warnings

import numpy as np


def quiet_nan(function):
    """Run ``function`` without the floating-point warnings that NaN and zero bring about."""

    @functools.wraps(function)
    def silent(*args, **kwargs):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            return function(*args, **kwargs)

    return silent
