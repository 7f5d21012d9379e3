"""What a user asks of a night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flatcore.errors import UsageError
from flatcore.instrument import Profile
from flatcore.settings import Changes


def night_name(obs_dir: str) -> str:
    """Give the name of an observation directory without a closing slash.

    Raises
    ------
    UsageError
        It is no name of a folder below another.
    """
    name = obs_dir.rstrip("/")
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or name == ".":
        raise UsageError(f"OBS_DIR = {obs_dir!r}: expected the name of a folder under the data root's tmp")
    return name


@dataclass(frozen=True)
class NightRequest:
    """A night to be made, and how; see :func:`flatcore.run_night` for the meaning of each.

    Attributes
    ----------
    in_dir, out_dir
        In place of ``<data root>/tmp`` and ``<data root>/red``; relative ones are below the data root.
    database_url
        Of the calibration database; SQLite in the data root where None.
    lock_timeout_s
        How long to wait while another run works on the same night [s].
    """

    obs_dir: str
    data_root: Path
    files: tuple[str, ...] = ()
    instrument: str | Path | Profile | None = None
    fiber: str = "ALL"
    preset: str = "default"
    settings: Changes = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    calibration_files: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    keep_images: bool = False
    in_dir: Path | None = None
    out_dir: Path | None = None
    database_url: str | None = None
    lock_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Make the data root absolute, and take off a closing slash; refuse what is no name of a folder below it."""
        object.__setattr__(self, "obs_dir", night_name(self.obs_dir))
        object.__setattr__(self, "data_root", Path(self.data_root).absolute())

    @property
    def input_folder(self) -> Path:
        """Folder of the frames."""
        return self.data_root / (self.in_dir or "tmp") / self.obs_dir

    @property
    def output_folder(self) -> Path:
        """Folder of the products."""
        return self.data_root / (self.out_dir or "red") / self.obs_dir

    @property
    def other_folders(self) -> tuple[Path, Path]:
        """Folders beside that of the products in which the run writes."""
        return self.debug_folder, self.plot_folder

    @property
    def debug_folder(self) -> Path:
        """Folder of the intermediate arrays."""
        return self.data_root / "debug" / self.obs_dir

    @property
    def plot_folder(self) -> Path:
        """Folder of the figures."""
        return self.data_root / "plot" / self.obs_dir
