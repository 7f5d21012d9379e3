"""``flatcore locate``: where the orders lie, from the flats alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flatcore.cli.bootstrap_options import step_command

if TYPE_CHECKING:
    from flatcore.bootstrap import BootstrapResult

TEXT = """Find and trace the orders, and register the LOC files, one for each localisation.

    OBS_DIR is a folder under <data root>/tmp; FILES are its flats. Nothing is said of where the orders are: they are
    found in the light, followed both ways, fitted by Chebyshev polynomials, and told by fibre from their distances.
    """

EPILOG = """\b
Examples:
  flatcore locate 2020-08-31 --data-root /data/spirou
  flatcore locate 2019-03-14 --instrument lhd.toml --darkfile dark.fits --plot 2
  flatcore locate 2020-08-31 --dry-run --json --set locate.min_snr=5 --set locate.degree=5"""


def _figures(result: BootstrapResult, folder: Path) -> tuple[Path, ...]:
    if not result.traced or result.traced[0].flat is None:
        return ()
    from flatcore.plots.traces import write_trace_figures  # noqa: PLC0415 - matplotlib only where asked for

    return write_trace_figures(result, folder)


def _tell(result: BootstrapResult) -> None:
    """Print a line for each trace."""
    from flatcore.cli.tables import Listing  # noqa: PLC0415 - keeps help instant

    if not result.traced:
        return
    listing = Listing(
        "fibre", "order", "strip", "row", "columns", "FWHM", "rms", "points", "S/N", "below", "above", "ends"
    )
    for fiber in result.traced:
        for trace in fiber.traces:
            listing.add(
                fiber.name,
                str(trace.order),
                str(trace.fiber),
                f"{trace.middle:.1f}",
                f"{trace.first}–{trace.last}",
                f"{trace.fwhm:.1f}",
                f"{trace.rms:.3f}",
                str(trace.points),
                f"{trace.peak_snr:.0f}",
                f"{trace.below:g}",
                f"{trace.above:g}",
                "" if trace.ends == ("detector", "detector") else " / ".join(trace.ends),
            )
    listing.print()


command: Any = step_command("locate", ("locate",), TEXT, EPILOG, figures=_figures, tell=_tell)
