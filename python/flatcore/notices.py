"""What a user should know of a run, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flatcore.images import FrameSet
from flatcore.instrument import Profile
from flatcore.results import FiberQc, FiberResult, NightResult
from flatcore.settings import Settings


def selection_notices(selected: FrameSet, dark: Sequence[str], profile: Profile, settings: Settings) -> list[str]:
    """Tell of frames left out, of too few frames, and of fibres without light."""
    notices = [f"{frame.path.name} is left out: {frame.reason}" for frame in selected.left_out]
    least = profile.input.min_frames
    if settings.combine.frames and len(selected.frames) < least:
        notices.append(f"{len(selected.frames)} frames, fewer than the {least} of {profile.name}")
    if dark:
        notices.append(f"fibre {', '.join(dark)} gets no light in {selected.dprtype} frames and is left out")
    return notices


def fiber_notices(result: FiberResult, settings: Settings) -> list[str]:
    """Tell of what is remarkable in an order, of saturated orders, and of failed quality checks."""
    name = result.spectra.fiber
    notices = [f"fibre {name}, order {order}: {words}" for order, words in enumerate(result.qc.words) if words]
    if result.spectra.saturated.any():
        orders = ", ".join(str(order) for order in np.flatnonzero(result.spectra.saturated))
        notices.append(f"fibre {name}: orders {orders} are above {settings.extract.saturation_adu:g} ADU")
    return notices + qc_notices(result.qc) + warning_notices(result.qc)


def qc_notices(qc: FiberQc) -> list[str]:
    """Tell of failed quality checks that decide."""
    return [
        f"fibre {qc.fiber} fails quality control: {check.name} = {check.value:.5f}, asked for {check.limit}"
        f"{f' ({check.words})' if check.words else ''}"
        for check in qc.checks
        if check.decisive and not check.passed
    ]


def warning_notices(qc: FiberQc) -> list[str]:
    """Tell of failed quality checks that do not decide."""
    return [
        f"fibre {qc.fiber}: {check.words or check.limit} ({check.name} = {check.value:.5f})"
        for check in qc.checks
        if not check.decisive and not check.passed
    ]


def failures(result: NightResult) -> str:
    """Tell of every failed quality check of a night."""
    fibers = (fiber for image in result.images for fiber in image.fibers.values())
    return "; ".join(text for fiber in fibers for text in qc_notices(fiber.qc))
