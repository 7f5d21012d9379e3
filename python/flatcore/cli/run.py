"""``flatcore run``: a night's flats, end to end."""

from __future__ import annotations

from typing import Any

import click

from flatcore.cli.options import data_root_option

EPILOG = """\b
Examples:
  flatcore run 2020-08-31 --data-root /data/spirou
  flatcore run 2020-08-31 2510100f_pp.fits 2510101f_pp.fits --fiber AB
  flatcore run 2020-08-31 --preset apero --combine-method median --set qc.max_rms=0.03
  flatcore run 2019-03-14 --instrument lhd.toml --database False --json > night.json

Exit status: 0 done; 1 internal error; 2 wrong usage; 3 unusable input or missing
calibration; 4 done, but a fibre failed quality control."""


@click.command("run", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("obs_dir")
@click.argument("files", nargs=-1)
@data_root_option
@click.option("--instrument", metavar="NAME|FILE", help="Packaged profile or TOML file; by default chosen by INSTRUME.")
@click.option(
    "--preset", default="default", show_default=True, help="default, or apero: the recipe in use; sets defaults only."
)
@click.option("--fiber", default="ALL", show_default=True, help="Fibre to extract, or ALL.")
@click.option("--combine", type=bool, metavar="True|False", help="Combine the frames, or make products of each.")
@click.option("--combine-method", type=click.Choice(["median", "mean", "clipped"]), help="How frames are combined.")
@click.option("--database", type=bool, metavar="True|False", help="Add flats and blazes that pass to the database.")
@click.option("--nosave", is_flag=True, help="Write nothing, neither products nor database.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads; all cores by default. Results do not depend on it."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="One setting or profile value; repeatable."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output, and nothing else there."
)
@click.option("--quiet", is_flag=True, help="No progress and no table; warnings and errors only.")
def command(obs_dir: str, files: tuple[str, ...], data_root: str, **options: Any) -> int:
    """Make flat, blaze and extracted products from a night's lamp flats.

    OBS_DIR is a folder under <data root>/tmp; FILES are names in it, paths or globs. Without FILES every
    preprocessed flat of the folder is used. Products go to <data root>/red/OBS_DIR, and flats and blazes that
    pass quality control also to the calibration database.
    """
    from flatcore.cli.report import Watcher, print_json, print_night  # noqa: PLC0415 - keeps help instant
    from flatcore.recipe import run_night  # noqa: PLC0415

    as_json, quiet = options["as_json"], options["quiet"]
    with Watcher(quiet) as watcher:
        result = run_night(
            obs_dir,
            files,
            data_root=data_root,
            instrument=options["instrument"],
            fiber=options["fiber"],
            preset=options["preset"],
            settings=_settings(options),
            assignments=options["assignments"],
            threads=options["threads"],
            progress=watcher.stage,
        )
    if as_json:
        print_json(result)
    elif not quiet:
        print_night(result)
    return 0 if result.passed else 4


def _settings(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the settings of the named options that were given."""
    named = {
        ("combine", "frames"): options["combine"],
        ("combine", "method"): options["combine_method"],
        ("output", "database"): options["database"],
        ("output", "save"): False if options["nosave"] else None,
    }
    settings: dict[str, dict[str, Any]] = {}
    for (section, key), value in named.items():
        if value is not None:
            settings.setdefault(section, {})[key] = value
    return settings
