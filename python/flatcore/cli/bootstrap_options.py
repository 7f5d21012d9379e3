"""What ``flatcore bootstrap`` and the commands of its single steps share: options, work and closing lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from flatcore.cli.helpful import Command
from flatcore.cli.options import data_root_option, database_url_option, in_dir_option
from flatcore.cli.special import arrange

if TYPE_CHECKING:
    from flatcore.bootstrap import BootstrapResult

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

# Named option, and the calibration key whose files it names.
FILES = {"darkfile": "DARKREF", "badpixfile": "BADPIX", "locofile": "LOC"}

PANELS = {
    "Input": ["--data-root", "--instrument", "--darks", "--biases", "--arc", "--fiber-order", "--no_in_qc",
        "--force_indir"],
    "Calibration files": ["--darkfile", "--badpixfile", "--locofile"],
    "Output": [
        "--dry-run", "--replace", "--force", "--ref", "--plot", "--write-profile", "--json", "--quiet",
    ],
    "Running": ["--set", "--threads", "--lock-timeout", "--database-url"],
}  # fmt: skip


def _file(name: str, key: str, text: str) -> _Option:
    return click.option(
        f"--{name}",
        name,
        multiple=True,
        metavar="FILE",
        help=f"{text} to use in place of making it; registered if it is not. A path, or a name in the observation "
        f"directory or calib/. [{key}]",
    )


OPTIONS: tuple[_Option, ...] = (
    data_root_option,
    click.option("--instrument", metavar="NAME|FILE", help="Packaged profile or TOML file; by default by INSTRUME."),
    click.option(
        "--darks", multiple=True, metavar="FILE", help="Dark frames: names, paths or globs; by default DARK_DARK ones."
    ),
    click.option(
        "--biases", multiple=True, metavar="FILE", help="Bias frames, likewise; by default those of DPRTYPE BIAS."
    ),
    click.option(
        "--arc", "arcs", multiple=True, metavar="FILE", help="Comb or arc frames, which show how lines are tilted."
    ),
    click.option(
        "--fiber-order", metavar="A,B", help="Localisations from low rows up; by default as the profile has them."
    ),
    click.option("--no_in_qc", is_flag=True, help="Keep frames whose QCC_ALL is false."),
    in_dir_option,
    _file("darkfile", "DARKREF", "Dark"),
    _file("badpixfile", "BADPIX", "Bad pixels"),
    _file("locofile", "LOC", "Traces, one file for each fibre,"),
    click.option("--dry-run", is_flag=True, help="Make everything, but write and register nothing."),
    click.option("--replace", is_flag=True, help="Make anew what an earlier bootstrap of the night made otherwise."),
    click.option("--force", is_flag=True, help="Make anew even what an earlier bootstrap made just so."),
    click.option("--ref", "reference", is_flag=True, help="Record as reference: never too old to be chosen."),
    click.option(
        "--plot", type=click.Choice(["0", "2"]), default="0", show_default=True, help="Figures: 0 none, 2 in plot/."
    ),
    click.option(
        "--write-profile",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write a profile with the extraction windows that the light proposes.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else."),
    click.option("--quiet", is_flag=True, help="No progress and no closing table; warnings and errors only."),
    click.option(
        "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
        help="One setting of badpix, unlit, locate, orderprofile, shape or tilt, or of the profile; repeatable.",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 256), help="Threads; all cores by default. Results do not depend on it."
    ),
    click.option(
        "--lock-timeout", type=click.FloatRange(min=0), default=600.0, show_default=True, metavar="SECONDS",
        help="How long to wait for another run on the same night.",
    ),
    database_url_option,
)  # fmt: skip


def step_command(  # noqa: PLR0917 - what it is, and what is its own
    name: str,
    steps: tuple[str, ...],
    text: str,
    epilog: str,
    figures: Callable[[BootstrapResult, Path], tuple[Path, ...]] | None = None,
    tell: Callable[[BootstrapResult], None] | None = None,
) -> click.Command:
    """Make the command of some steps of a bootstrap.

    Parameters
    ----------
    name
        Of the command.
    steps
        As of :data:`flatcore.bootstrap.STEPS`; none means all.
    text
        Its help.
    epilog
        Examples.
    figures
        Draw the figures of a step, in place of those of the whole.
    tell
        Print what a step has to tell beside its files.
    """

    def callback(obs_dir: str, files: tuple[str, ...], **options: Any) -> int:
        return _run(name, steps, obs_dir, files, options, figures or _figures, tell)

    callback.__doc__ = text
    function: Callable[..., Any] = callback
    for option in reversed(OPTIONS):
        function = option(function)
    function = click.argument("files", nargs=-1)(function)
    function = click.argument("obs_dir")(function)
    settings = {"help_option_names": ["-h", "--help"]}
    made: click.RichCommand = click.command(name, cls=Command, epilog=epilog, context_settings=settings)(function)
    arrange(made, PANELS)
    return made


def _run(  # noqa: PLR0917 - as step_command
    name: str,
    steps: tuple[str, ...],
    obs_dir: str,
    files: tuple[str, ...],
    options: Mapping[str, Any],
    draw: Callable[[BootstrapResult, Path], tuple[Path, ...]],
    tell: Callable[[BootstrapResult], None] | None,
) -> int:
    from flatcore.bootstrap import STEPS, BootstrapRequest, Names, bootstrap  # noqa: PLC0415 - keeps help instant
    from flatcore.cli import watcher  # noqa: PLC0415

    if options["plot"] != "0":
        from flatcore.figures import check_matplotlib  # noqa: PLC0415

        check_matplotlib()
    request = BootstrapRequest(
        obs_dir=obs_dir,
        data_root=Path(options["data_root"]),
        names=Names(files, options["darks"], options["biases"]),
        arcs=options["arcs"],
        steps=steps or tuple(STEPS),
        instrument=options["instrument"],
        assignments=options["assignments"],
        calibration_files={key: options[option] for option, key in FILES.items() if options[option]},
        fiber_order=tuple(part.strip() for part in (options["fiber_order"] or "").split(",") if part.strip()),
        require_qc=not options["no_in_qc"],
        register=not options["dry_run"],
        replace=options["replace"],
        force=options["force"],
        reference=options["reference"],
        keep_images=options["plot"] != "0",
        threads=options["threads"],
        in_dir=Path(options["force_indir"]) if options["force_indir"] else None,
        database_url=options["database_url"],
        lock_timeout_s=options["lock_timeout"],
    )
    with (
        watcher.signals_as_exceptions(_left_by_interrupt(options)),
        watcher.Watcher("flatcore", options["quiet"], 0, bars=True) as watched,
    ):
        result = bootstrap(request, watched.stage)
    figures = draw(result, request.data_root / "plot" / request.obs_dir)
    profile = _profile(result, options["instrument"], options["write_profile"])
    if options["as_json"]:
        summary = result.summary | {"figures": [str(path) for path in figures], "profile": str(profile or "")}
        click.echo(json.dumps(summary, indent=1))
    elif not options["quiet"]:
        if tell is not None:
            tell(result)
        _tell(name, result, figures, profile)
    return 0


def _left_by_interrupt(options: Mapping[str, Any]) -> str:
    if options["quiet"]:
        return ""
    if options["dry_run"]:
        return "nothing was written"
    return "either all calibrations are registered or none; run it again"


def _figures(result: BootstrapResult, folder: Path) -> tuple[Path, ...]:
    if result.images is None:
        return ()
    from flatcore.plots.bootstrap import write_bootstrap_figures  # noqa: PLC0415 - matplotlib only where asked for

    return write_bootstrap_figures(result, folder)


def _profile(result: BootstrapResult, instrument: str | None, path: Path | None) -> Path | None:
    if path is None:
        return None
    from flatcore.bootstrap.windows import write_profile  # noqa: PLC0415 - keeps help instant

    return write_profile(path, result, instrument)


def _tell(name: str, result: BootstrapResult, figures: tuple[Path, ...], profile: Path | None) -> None:
    """Print the closing table."""
    from flatcore.cli.tables import Listing  # noqa: PLC0415 - keeps help instant
    from flatcore.cli.watcher import STAGES  # noqa: PLC0415

    frames = ", ".join(f"{count} {kind}" for kind, count in result.frames.items() if count)
    if result.skipped:
        click.echo(f"nothing to do: an earlier {name} made these from the same {frames}")
    else:
        click.echo(f"{result.instrument} {result.obs_dir}: {frames}")
    listing = Listing("key", "fibre", "file", "found")
    for made in result.made:
        listing.add(made.keyname, made.fiber or "-", made.path.name, "" if result.skipped else made.figure)
    listing.print()
    windows = Listing("fibre", "below", "above", "proposed below", "proposed above")
    for one in result.windows:
        windows.add(one.fiber, *(f"{v:g}" for v in (one.below, one.above, one.proposed_below, one.proposed_above)))
    if windows:
        click.echo("extraction windows of the profile, and as the light proposes them [pixels]:")
        windows.print()
    folder = result.made[0].path.parent
    count = f"{len(result.made)} calibration{'s' * (len(result.made) > 1)}"
    if result.registered and not result.skipped:
        click.echo(f"{count} in {folder}, registered")
    elif not result.skipped:
        click.echo(f"dry run: {count} made, nothing written")
    if figures:
        click.echo(f"{len(figures)} figures in {figures[0].parent}")
    if profile:
        click.echo(f"profile with the proposed windows: {profile}")
    slowest = sorted(result.seconds.items(), key=lambda item: -item[1])[:3]
    stages = ", ".join(f"{STAGES.get(stage, stage)} {seconds:.2f}" for stage, seconds in slowest)
    click.echo(f"{sum(result.seconds.values()):.2f} s: {stages}, …")
