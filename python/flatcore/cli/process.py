"""``flatcore process``: many nights, on one machine or a cluster."""

from __future__ import annotations

from typing import Any

import rich_click as click

from flatcore.cli.helpful import Command
from flatcore.cli.options import LocalFolder, database_url_option
from flatcore.cli.special import arrange, run_file_option

EPILOG = """\b
Examples:
  flatcore process --data-root /data/spirou --dry-run
  flatcore process --data-root /data/spirou --workers 4 --since 2020-08-01
  flatcore process 2020-08-31 '2020-09-*' --data-root /data/spirou --force
  flatcore process --data-root /data/spirou --retry-failed
  flatcore process --data-root /data/spirou --scheduler tcp://head:8786
  flatcore process --data-root s3://bucket/spirou --stage /scratch \\
      --database-url postgresql://user@host/flatcore

\b
Exit status: 0 all done or unchanged; 1 internal error; 2 wrong usage;
3 a night could not be run; 4 all were run, but a fibre of one failed
quality control."""

PANELS = {
    "Which nights": ["--data-root", "--since", "--until", "--include", "--exclude", "--kind", "--order"],
    "Whether": ["--dry-run", "--force", "--retry-failed", "--retries", "--max-failures"],
    "By whom": ["--workers", "--threads", "--memory-limit", "--scheduler", "--stage", "--storage-option"],
    "How": ["--instrument", "--preset", "--fiber", "--set", "--crunfile", "--plot", "--report"],
    "Output": ["--json", "--quiet"],
    "Database": ["--database-url", "--lock-timeout"],
}


@click.command("process", cls=Command, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.rich_config(help_config={"options_panel_title": "Help"})
@click.argument("nights", nargs=-1)
@click.option(
    "--data-root",
    envvar="FLATCORE_DATA",
    required=True,
    metavar="DIR|URL",
    help="Folder that holds tmp/, calib/ and red/, or a storage such as s3://bucket/root; also by FLATCORE_DATA.",
)
@click.option("--since", metavar="DATE", help="First date in the folders' names; 2020-08-31, or 7d or 2w before today.")
@click.option("--until", metavar="DATE", help="Last date in the folders' names.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only nights whose folder fits; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not nights whose folder fits; repeatable.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["FLAT_FLAT", "DARK_FLAT", "FLAT_DARK"]),
    metavar="DPRTYPE",
    help="Only sets of this kind: FLAT_FLAT, DARK_FLAT or FLAT_DARK; repeatable, all by default.",
)
@click.option(
    "--order",
    type=click.Choice(["oldest", "newest"]),
    default="oldest",
    show_default=True,
    help="Nights that begin first. Results do not depend on it.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be run, and why; do nothing.")
@click.option("--force", is_flag=True, help="Run nights too of which nothing has changed.")
@click.option("--retry-failed", is_flag=True, help="Only nights whose latest run could not be done.")
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="New attempts where a failure may pass: a lost worker, a lock, the network.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=1),
    metavar="N",
    help="Begin no more nights after so many that could not be run.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of this machine.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Threads of each night; by default the cores shared among workers.",
)
@click.option(
    "--memory-limit",
    default="auto",
    show_default=True,
    metavar="SIZE",
    help="Of each worker of this machine: auto, 8GiB, or 0 for none.",
)
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster, such as tcp://host:8786, in place of --workers.")
@click.option(
    "--stage",
    type=LocalFolder(hint=""),
    metavar="DIR",
    help="Local folder in which nights of a storage are run; on every worker.",
)
@click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="For fsspec; JSON or text.",
)
@click.option("--instrument", metavar="NAME|FILE", help="Packaged profile or TOML file; by default chosen by INSTRUME.")
@click.option("--preset", default="default", show_default=True, help="default, or apero: the recipe in use.")
@click.option("--fiber", default="ALL", show_default=True, help="Fibre to extract, or ALL.")
@click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="One setting or profile value; repeatable."
)
@run_file_option
@click.option("--plot", type=click.Choice(["0", "2", "3", "4"]), help="Figures: 0 off, 2 save, 3 and 4 more.")
@click.option("--report", is_flag=True, help="Write the page of each night, under report/.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress and no table; warnings and errors only.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another run on the same night.",
)
@database_url_option
def command(nights: tuple[str, ...], **options: Any) -> int:
    """Run every night that is new or has changed.

    NIGHTS are folders under <data root>/tmp, or globs of them; all by default. A night's flats are taken by
    DPRTYPE, each kind by itself. What an earlier run made of the same frames, calibrations and settings with the same
    version of flatcore is left as it is.
    """
    from flatcore.cli.batch_table import BatchWatcher, print_batch, print_batch_json  # noqa: PLC0415 - help is instant
    from flatcore.cli.watcher import signals_as_exceptions  # noqa: PLC0415
    from flatcore.nights import process  # noqa: PLC0415

    asked = _options(nights, options)
    with signals_as_exceptions(_left_by_interrupt(options)), BatchWatcher(options["quiet"]) as watcher:
        result = process(asked, watcher)
    if options["as_json"]:
        print_batch_json(result)
    elif not options["quiet"]:
        print_batch(result, dry_run=asked.dry_run, seconds=watcher.seconds, database=_database(options))
    if options["quiet"]:
        watcher.tell_causes(result)
    return 0 if asked.dry_run else result.exit_status


def _options(nights: tuple[str, ...], options: dict[str, Any]) -> Any:
    """Put the command line into what is asked of the batch."""
    from pathlib import Path  # noqa: PLC0415 - keeps help instant

    from flatcore.frames import FLAT_KINDS  # noqa: PLC0415
    from flatcore.nights import BatchOptions, NightFilter, Policy  # noqa: PLC0415
    from flatcore.nights.found import date_of_text  # noqa: PLC0415
    from flatcore.request import NightRequest  # noqa: PLC0415

    _refuse_what_would_be_ignored(options)
    settings: dict[str, dict[str, Any]] = {}
    if options["plot"] is not None:
        settings.setdefault("output", {})["figures"] = int(options["plot"])
    if options["report"]:
        settings.setdefault("output", {})["report"] = True
    wanted = NightFilter(
        names=nights,
        first=date_of_text(options["since"], "--since") if options["since"] else None,
        last=date_of_text(options["until"], "--until") if options["until"] else None,
        include=options["include"],
        exclude=options["exclude"],
        kinds=options["kinds"] or FLAT_KINDS,
    )
    request = NightRequest(
        obs_dir="any",
        data_root=Path(),
        instrument=options["instrument"],
        fiber=options["fiber"],
        preset=options["preset"],
        settings=settings,
        assignments=options["assignments"],
        database_url=options["database_url"],
        lock_timeout_s=options["lock_timeout"],
    )
    return BatchOptions(
        data_root=options["data_root"],
        request=request,
        nights=wanted,
        policy=Policy(options["retries"], options["max_failures"]),
        stage=Path(options["stage"]) if options["stage"] else None,
        storage_options=_storage_options(options["storage_options"]),
        **{
            name: options[name]
            for name in (
                "force", "retry_failed", "dry_run", "order", "workers", "scheduler", "threads", "memory_limit",
            )
        },
    )  # fmt: skip


def _left_by_interrupt(options: dict[str, Any]) -> str:
    """Say what Ctrl-C leaves, and what the same command does then."""
    if options["quiet"]:
        return ""
    if options["dry_run"]:
        return "nothing was run"
    then = "; with --force all are run again" if options["force"] else ", and the same command does the rest"
    return f"nights that are done stay done{then}"


def _database(options: dict[str, Any]) -> str:
    """Give the option by which ``flatcore runs`` finds what was run; a URL is not shown: it may hold a password."""
    from shlex import quote  # noqa: PLC0415 - keeps help instant

    return (
        "--database-url URL"
        if options["database_url"]
        else f"--data-root {quote(options['data_root'].removeprefix('file://'))}"
    )


def _refuse_what_would_be_ignored(options: dict[str, Any]) -> None:
    from flatcore.nights.site import is_url  # noqa: PLC0415 - keeps help instant

    if options["scheduler"] is not None and options["workers"] != 1:
        raise click.UsageError("--workers begins processes of this machine; those of --scheduler are there already.")
    if options["memory_limit"] != "auto" and (options["scheduler"] is not None or options["workers"] == 1):
        raise click.UsageError("--memory-limit is for several --workers of this machine.")
    if options["stage"] is not None and not is_url(options["data_root"]):
        raise click.UsageError("--stage is for a data root by URL; nights of a folder are run where they are.")


def _storage_options(texts: tuple[str, ...]) -> dict[str, Any]:
    import json  # noqa: PLC0415 - keeps help instant

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--storage-option")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


arrange(command, PANELS)
