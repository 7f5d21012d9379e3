"""``flatcore run``: a night's flats, end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from flatcore.cli.helpful import Command
from flatcore.cli.options import data_root_option, database_url_option, in_dir_option, out_dir_option
from flatcore.cli.special import (
    arrange,
    hide,
    info_option,
    run_file_option,
    version_option,
    xhelp_option,
)

_Command = TypeVar("_Command", bound=Callable[..., Any])

EPILOG = """\b
Examples:
  flatcore run 2020-08-31 --data-root /data/spirou
  flatcore run 2020-08-31 2510100f_pp.fits 2510101f_pp.fits --fiber AB --darkcorr False
  flatcore run 2020-08-31 --preset apero --combine-method median --set qc.max_rms=0.03
  flatcore run 2019-03-14 --instrument lhd.toml --database False --json > night.json
  flatcore run --listing --data-root /data/spirou

\b
Exit status: 0 done; 1 internal error; 2 wrong usage; 3 unusable input or
missing calibration; 4 done, but a fibre failed quality control."""

PANELS = {
    "Input": ["--data-root", "--instrument", "--no_in_qc", "--force_indir", "--listing", "--listingall"],
    "What is done": [
        "--preset", "--fiber", "--combine", "--combine-method", "--darkcorr", "--flipimage", "--resize", "--badcorr",
        "--backsub", "--extract-method", "--fluxunits", "--set", "--crunfile",
    ],
    "Calibration files": [
        "--darkfile", "--badpixfile", "--locofile", "--orderpfile", "--shapex", "--shapey", "--shapel",
    ],
    "Output": [
        "--database", "--nosave", "--skip-existing", "--plot", "--report", "--json", "--quiet", "--ref",
        "--force_outdir", "--debug",
    ],
    "Running": [
        "--threads", "--lock-timeout", "--database-url", "--program", "--shortname", "--recipe_kind", "--parallel",
        "--idebug",
    ],
    "Help": ["--xhelp", "--info", "--version"],
}  # fmt: skip

# rich_config, which sets the title too, imports a console that a run without a terminal does without.
CONTEXT = {"help_option_names": ["-h", "--help"], "rich_help_config": {"options_panel_title": "Help"}}

# What Ctrl-C leaves, and what to do then.
INTERRUPTED = "no file is half-written, and the same command makes the night anew"

# Lines of --listing.
MOST_LISTED = 15

# Shown by --xhelp only.
ADVANCED = {
    "force_indir", "force_outdir", "debug", "program", "shortname", "recipe_kind", "parallel", "idebug", "listingall",
    "crunfile", "ref", "database_url",
}  # fmt: skip

# Named option, and the setting it is.
SETTINGS = {
    "combine": "combine.frames",
    "combine_method": "combine.method",
    "darkcorr": "calibrate.dark",
    "flipimage": "calibrate.flip",
    "resize": "calibrate.resize",
    "badcorr": "calibrate.badpix",
    "backsub": "calibrate.background",
    "extract_method": "extract.method",
    "fluxunits": "extract.fluxunits",
    "database": "output.database",
    "plot": "output.figures",
    "debug": "output.debug",
    "program": "run.program",
    "shortname": "run.shortname",
    "recipe_kind": "run.recipe_kind",
    "parallel": "run.parallel",
}

# Named option, and the calibration key whose file it names.
FILES = {
    "darkfile": "DARKREF",
    "badpixfile": "BADPIX",
    "locofile": "LOC",
    "orderpfile": "ORDER_PROFILE",
    "shapex": "SHAPEX",
    "shapey": "SHAPEY",
    "shapel": "SHAPEL",
}


def _switch(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, type=bool, metavar="True|False", help=text)


def _file(name: str, key: str, text: str, *aliases: str) -> Callable[[_Command], _Command]:
    help_text = f"{text} A path, or a name in the observation directory or calib/; wins over the database."
    return click.option(name, *aliases, name.lstrip("-"), metavar="FILE", help=f"{help_text} [{key}]")


@click.command("run", cls=Command, epilog=EPILOG, context_settings=CONTEXT)
@click.argument("obs_dir", required=False)
@click.argument("files", nargs=-1)
@data_root_option
@click.option("--instrument", metavar="NAME|FILE", help="Packaged profile or TOML file; by default chosen by INSTRUME.")
@click.option("--no_in_qc", is_flag=True, help="Keep frames whose QCC_ALL is false.")
@in_dir_option
@click.option("--listing", is_flag=True, help="List up to 15 observation directories, or files of OBS_DIR, and exit.")
@click.option("--listingall", is_flag=True, help="List all of them, and exit.")
@click.option(
    "--preset", default="default", show_default=True, help="default, or apero: the recipe in use; sets defaults only."
)
@click.option("--fiber", default="ALL", show_default=True, help="Fibre to extract, or ALL.")
@_switch("--combine", "Combine the frames, or make products of each.")
@click.option("--combine-method", type=click.Choice(["median", "mean", "clipped"]), help="How frames are combined.")
@_switch("--darkcorr", "Subtract the dark.")
@click.option(
    "--flipimage",
    type=click.Choice(["None", "x", "y", "both"], case_sensitive=False),
    help="Axes to reverse; the profile's by default.",
)
@_switch("--resize", "Keep the profile's rows and columns only.")
@_switch("--badcorr", "Take bad pixels out.")
@_switch("--backsub", "Subtract the background.")
@click.option("--extract-method", type=click.Choice(["optimal", "horne", "direct"]), help="How orders are extracted.")
@click.option("--fluxunits", type=click.Choice(["ADU/s", "e-"]), help="Unit of E2DS-like products.")
@_file("--darkfile", "DARKREF", "Dark.")
@_file("--badpixfile", "BADPIX", "Bad pixels.")
@_file("--locofile", "LOC", "Traces; serves the fibre its header names.")
@_file("--orderpfile", "ORDER_PROFILE", "Order profile; serves the fibre its header names.")
@_file("--shapex", "SHAPEX", "Map of shifts along x.", "--shapexfile")
@_file("--shapey", "SHAPEY", "Map of shifts along y.", "--shapeyfile")
@_file("--shapel", "SHAPEL", "Linear transform of the night.", "--shapelfile")
@_switch("--database", "Add flats and blazes that pass to the database.")
@click.option("--nosave", is_flag=True, help="Write nothing anywhere: no products, database, log, figures or page.")
@click.option(
    "--skip-existing", is_flag=True, help="Do nothing if an earlier run did just this, and its products are there."
)
@click.option(
    "--plot",
    type=click.IntRange(0, 4),
    metavar="0..4",
    help="Figures: 0 off, 1 interactive, 2 save, 3 and 4 save with more detail.",
)
@click.option("--report", is_flag=True, help="Write a page that explains the run, under report/.")
@click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads; all cores by default. Results do not depend on it."
)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another run on the same night.",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="One setting or profile value; repeatable."
)
@run_file_option
@click.option("--ref", is_flag=True, help="Register reference calibrations; failing quality control is an error.")
@out_dir_option
@click.option(
    "--debug",
    type=click.IntRange(min=0),
    metavar="LEVEL",
    help="1 tells every stage; from 2 on intermediate arrays are kept under debug/.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output, and nothing else there."
)
@click.option("--quiet", is_flag=True, help="No start-up text, progress or table; warnings and errors only.")
@click.option("--program", metavar="NAME", help="Name in every line of the log.")
@click.option("--shortname", metavar="NAME", help="Short name of the run, for log, headers and records.")
@click.option("--recipe_kind", metavar="KIND", help="Kind of the run, for log, headers and records.")
@_switch("--parallel", "One of several at once: no progress bars, no interactive figures.")
@click.option(
    "--idebug", is_flag=True, help="End in IPython, or pdb where it is not installed, with the result in scope."
)
@database_url_option
@xhelp_option
@info_option
@version_option
def command(obs_dir: str | None, files: tuple[str, ...], **options: Any) -> int:
    """Make flat, blaze and extracted products from a night's lamp flats.

    OBS_DIR is a folder under <data root>/tmp; FILES are names in it, paths or globs. Without FILES every
    preprocessed flat of the folder is used. Products go to <data root>/red/OBS_DIR, and flats and blazes that
    pass quality control also to the calibration database.
    """
    if options["listing"] or options["listingall"]:
        if options["as_json"]:
            raise click.UsageError("--json tells of a run; --listing is a table for people.")
        from flatcore.cli.listing import print_listing  # noqa: PLC0415 - keeps help instant

        print_listing(obs_dir, options, None if options["listingall"] else MOST_LISTED)
        return 0
    if obs_dir is None:
        raise click.UsageError("Missing argument 'OBS_DIR'; flatcore run --listing shows what there is.")
    from flatcore.cli.report import print_json, print_session  # noqa: PLC0415 - keeps help instant
    from flatcore.cli.watcher import Watcher, signals_as_exceptions  # noqa: PLC0415
    from flatcore.session import run_session  # noqa: PLC0415

    request = _request(obs_dir, files, options)
    quiet, debug = options["quiet"], options["debug"] or 0
    with (
        signals_as_exceptions("" if quiet else INTERRUPTED),
        Watcher(options["program"] or "flatcore", quiet, debug, bars=not options["parallel"]) as watcher,
    ):
        outcome = run_session(request, watcher.stage, skip_existing=options["skip_existing"])
    if options["as_json"]:
        print_json(outcome)
    elif not quiet:
        print_session(outcome)
    if options["idebug"]:
        from flatcore.cli.special import interact  # noqa: PLC0415

        interact(outcome)
    if options["ref"] and not outcome.passed:
        click.echo("error: a reference (--ref) that fails quality control; nothing was registered", err=True)
    return 0 if outcome.passed else 4


def _request(obs_dir: str, files: tuple[str, ...], options: dict[str, Any]) -> Any:
    """Put the command line into a request."""
    from pathlib import Path  # noqa: PLC0415 - keeps help instant

    from flatcore.request import NightRequest  # noqa: PLC0415

    settings: dict[str, dict[str, Any]] = {}

    def put(name: str, value: Any) -> None:
        section, key = name.split(".")
        settings.setdefault(section, {})[key] = value

    for option, name in SETTINGS.items():
        value = options[option]
        if value is not None:
            put(name, value.lower() if option == "flipimage" else value)
    for flag, name, value in (
        ("no_in_qc", "input.require_qc", False),
        ("nosave", "output.save", False),
        ("ref", "output.reference", True),
        ("report", "output.report", True),
    ):
        if options[flag]:
            put(name, value)
    return NightRequest(
        obs_dir=obs_dir,
        data_root=Path(options["data_root"]),
        files=files,
        instrument=options["instrument"],
        fiber=options["fiber"],
        preset=options["preset"],
        settings=settings,
        assignments=options["assignments"],
        calibration_files={key: options[name] for name, key in FILES.items() if options[name]},
        threads=options["threads"],
        in_dir=Path(options["force_indir"]) if options["force_indir"] else None,
        out_dir=Path(options["force_outdir"]) if options["force_outdir"] else None,
        database_url=options["database_url"],
        lock_timeout_s=options["lock_timeout"],
    )


arrange(command, PANELS)
hide(command, ADVANCED)
