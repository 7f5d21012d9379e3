"""What a user asks of a bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flatcore.bootstrap.inputs import Names
from flatcore.errors import UsageError
from flatcore.request import night_name

# What can be made, in the order in which it is told, and the calibration keys of each.
STEPS: Mapping[str, tuple[str, ...]] = {
    "darkref": ("DARKREF",),
    "badpix": ("BADPIX",),
    "unlit": ("BKGRDMAP",),
    "locate": ("LOC",),
    "orderprofile": ("ORDER_PROFILE",),
    "shape": ("SHAPEX", "SHAPEY", "SHAPEL"),
}


@dataclass(frozen=True)
class BootstrapRequest:
    """A night whose calibrations are to be made, and how.

    Attributes
    ----------
    obs_dir
        Folder of the frames under the data root's ``tmp``.
    names
        Frames in place of what the folder holds.
    arcs
        Comb or arc frames, from which the tilt of lines is measured; SHAPEX is zero without.
    steps
        What is made: names of :data:`STEPS`.
    assignments
        ``section.key=value`` texts: settings of the bootstrap, of tracing (``locate``), or values of the profile.
    calibration_files
        Files of keys DARKREF, BADPIX and LOC that are used and not made.
    fiber_order
        Names of the localisations from low rows up; as in the profile where empty.
    require_qc
        Leave out frames whose QCC_ALL is false.
    register
        Add the files to the calibration database; else nothing is written.
    replace
        Make anew what an earlier bootstrap of the same night made otherwise.
    force
        Make anew even what an earlier bootstrap made just so.
    reference
        Record as reference calibrations.
    keep_images
        Keep the images in the result, for figures.
    """

    obs_dir: str
    data_root: Path
    names: Names = field(default_factory=Names)
    arcs: tuple[str, ...] = ()
    steps: tuple[str, ...] = tuple(STEPS)
    instrument: str | Path | None = None
    assignments: tuple[str, ...] = ()
    calibration_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fiber_order: tuple[str, ...] = ()
    require_qc: bool = True
    register: bool = True
    replace: bool = False
    force: bool = False
    reference: bool = False
    keep_images: bool = False
    threads: int | None = None
    in_dir: Path | None = None
    database_url: str | None = None
    lock_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Make the data root absolute; refuse what is no name of a folder below it, and unknown steps."""
        name = night_name(self.obs_dir)
        unknown = [step for step in self.steps if step not in STEPS]
        if unknown or not self.steps:
            raise UsageError(f"bootstrap steps {unknown or 'none'}: expected some of {', '.join(STEPS)}")
        object.__setattr__(self, "obs_dir", name)
        object.__setattr__(self, "data_root", Path(self.data_root).absolute())

    @property
    def input_folder(self) -> Path:
        """Folder of the frames."""
        return self.data_root / (self.in_dir or "tmp") / self.obs_dir

    @property
    def output_folder(self) -> Path:
        """Folder of the night's products, whose lock is held while calibrations are registered."""
        return self.data_root / "red" / self.obs_dir

    @property
    def keys(self) -> tuple[str, ...]:
        """Calibration keys that are made."""
        return tuple(key for step, keys in STEPS.items() if step in self.steps for key in keys)
