"""Frames to one image, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan


@quiet_nan
def combine_frames(frames, method="median", clip_sigma=5.0):
    """Median, mean or clipped mean over the first axis; non-finite pixels left out."""
    stack = np.where(np.isfinite(frames), frames, np.nan).astype(float)
    if method == "median":
        return np.nanmedian(stack, axis=0)
    if method == "mean":
        return np.nanmean(stack, axis=0)
    while True:
        kept = stack
        median = np.nanmedian(kept, axis=0)
        sigma = np.nanmedian(np.abs(kept - median), axis=0) * 1.482602218505602
        stack = np.where(np.abs(kept - median) > clip_sigma * sigma, np.nan, kept)
        stack = np.where(sigma > 0, stack, kept)
        if np.isnan(stack).sum() == np.isnan(kept).sum():
            return np.nanmean(stack, axis=0)
