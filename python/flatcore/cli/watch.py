"""``flatcore watch``: nights are run as soon as their frames are complete."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.core import ParameterSource

from flatcore.cli import run
from flatcore.cli.helpful import Command
from flatcore.cli.options import data_root_option, database_url_option, in_dir_option, out_dir_option
from flatcore.cli.special import arrange, hide, xhelp_option

if TYPE_CHECKING:
    from flatcore.instrument import Profile

EPILOG = """\b
Examples:
  flatcore watch --data-root /data/spirou
  flatcore watch --data-root /data/spirou --expect 10 --quiet-time 300 --status /var/lib/node/flatcore.prom
  flatcore watch --data-root /data/spirou --end-marker END_OF_NIGHT --on-fail 'mail -s flats observer@example.org'
  */10 * * * *  flatcore watch --once --quiet-time 300 --data-root /data/spirou   (a line for cron)

\b
Exit status of --once: 0 all that was complete is done; 4 a fibre failed quality
control; 3 a night could not be made. Otherwise 143 and 130, by SIGTERM and SIGINT."""

# Options of `flatcore run` that every night gets as they are.
OF_THE_RUN = (
    "instrument", "no_in_qc", "preset", "fiber", "combine", "combine_method", "darkcorr", "flipimage", "resize",
    "badcorr", "backsub", "extract_method", "fluxunits", "darkfile", "badpixfile", "locofile", "orderpfile", "shapex",
    "shapey", "shapel", "database", "plot", "threads", "lock_timeout", "assignments", "debug", "program", "shortname",
    "recipe_kind",
)  # fmt: skip

PANELS = {
    "Where": ["--data-root", "--nights", "--max-age", "--poll", "--poll-interval", "--rescan", "--force_indir"],
    "When a night is complete": ["--quiet-time", "--expect", "--end-marker", "--settle", "--stall-time"],
    "What is told": ["--on-done", "--on-fail", "--hook-timeout", "--status", "--quiet"],
    "The watcher": ["--once", "--state", "--retry-failed", "--run-timeout"],
    "What is done": ["--report", *run.PANELS["What is done"], "--instrument", "--no_in_qc"],
    "Calibration files": run.PANELS["Calibration files"],
    "Output": ["--database", "--plot", "--force_outdir", "--debug"],
    "Running": ["--threads", "--lock-timeout", "--database-url", "--program", "--shortname", "--recipe_kind"],
    "Help": ["--xhelp"],
}

# What a run file may not ask for: runs that write nothing, or wait for someone.
NOT_FOR_A_WATCHER = ("nosave", "idebug", "listing", "listingall")

# Shown by --xhelp only.
ADVANCED = run.ADVANCED | {"settle", "rescan", "state", "darkfile", "badpixfile", "locofile", "orderpfile",
                           "shapex", "shapey", "shapel"}  # fmt: skip


def _quiet_time(_ctx: click.Context, _param: click.Parameter, value: str) -> float | None:
    """Seconds; None for off."""
    if value == "off":
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise click.BadParameter(f"{value!r}: expected seconds, 0 or more, or off")
    return seconds


_SECONDS = click.FloatRange(min=0.0, max=1e9)


@click.command("watch", cls=Command, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.rich_config(help_config={"options_panel_title": "Help"})
@data_root_option
@click.option("--nights", multiple=True, metavar="GLOB", help="Only these observation directories; repeatable.")
@click.option(
    "--max-age",
    type=click.FloatRange(min=0.0),
    metavar="DAYS",
    help="Leave alone nights whose latest change is older; all are looked at by default.",
)
@click.option(
    "--poll/--events",
    default=None,
    help="Look at intervals, or be told of changes; by default told, but on network disks, where nobody tells.",
)
@click.option(
    "--poll-interval", type=click.FloatRange(min=0.05), default=10.0, show_default=True, metavar="SECONDS",
    help="Time from look to look.",
)  # fmt: skip
@click.option(
    "--rescan", type=click.FloatRange(min=0.05), default=60.0, show_default=True, metavar="SECONDS",
    help="Look at everything so often, though the system tells of changes.",
)  # fmt: skip
@click.option(
    "--quiet-time", callback=_quiet_time, default="60", show_default=True, metavar="SECONDS|off",
    help="A set is complete when nothing of it has changed for so long.",
)  # fmt: skip
@click.option("--expect", type=click.IntRange(min=1), metavar="N", help="A set is complete when it has N whole frames.")
@click.option("--end-marker", metavar="GLOB", help="A night is complete when it has a file of this name.")
@click.option(
    "--settle", type=_SECONDS, default=2.0, show_default=True, metavar="SECONDS",
    help="Nothing may have changed for so long, whatever says that the night is complete.",
)  # fmt: skip
@click.option(
    "--stall-time", type=_SECONDS, default=900.0, show_default=True, metavar="SECONDS",
    help="Unfinished files are no longer waited for, and a set is stalled, when nothing has changed for so long.",
)  # fmt: skip
@click.option("--on-done", metavar="COMMAND", help="Call after a night that is done, with its JSON on standard input.")
@click.option("--on-fail", metavar="COMMAND", help="Call after a night that failed, or failed quality control.")
@click.option(
    "--hook-timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, metavar="SECONDS",
    help="These commands are ended after so long.",
)  # fmt: skip
@click.option(
    "--status", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Keep a file for monitoring: .prom for Prometheus, or .json.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Run what is complete now, and exit; for cron.")
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="What the watcher remembers; log/watch.json of the data root by default.",
)  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Forget failures: try every night again that failed before.")
@click.option(
    "--run-timeout", type=click.FloatRange(min=0.1), default=3600.0, show_default=True, metavar="SECONDS",
    help="A run that takes longer is ended.",
)  # fmt: skip
@click.option("--report/--no-report", default=True, show_default=True, help="Write a page that explains each run.")
@click.option("--crunfile", metavar="FILE", help="Run file with defaults for the options of the runs.")
@in_dir_option
@out_dir_option
@click.option("--quiet", is_flag=True, help="Warnings and errors only.")
@database_url_option
@xhelp_option
@click.pass_context
def command(context: click.RichContext, /, **options: Any) -> int:
    """Follow a data root, and run every night once when its flats are complete.

    Frames of each kind (DPRTYPE) in a folder below <data root>/tmp are a set of their own. A set is complete when all
    its files are whole and the end marker is there, or the expected number of frames, or nothing has changed for the
    quiet time; whichever is first. It is run as by flatcore run, in a process of its own, with a page, and never
    twice; frames that come later make it run again. Ends by SIGTERM or Ctrl-C; survives a restart.
    """
    from flatcore.cli.watcher import Watcher  # noqa: PLC0415 - keeps help instant
    from flatcore.watch import Rules, Watch, WatchRequest  # noqa: PLC0415
    from flatcore.watch.hooks import split_command  # noqa: PLC0415

    profile = _checked(options)
    request = WatchRequest(
        data_root=Path(options["data_root"]),
        run_options=tuple(_run_words(context, options)),
        rules=Rules(
            quiet_s=options["quiet_time"],
            expect=options["expect"],
            end_marker=options["end_marker"],
            settle_s=options["settle"],
            stall_s=options["stall_time"],
        ),
        in_dir=_path(options["force_indir"]),
        out_dir=_path(options["force_outdir"]),
        database_url=options["database_url"],
        nights=options["nights"],
        max_age_days=options["max_age"],
        poll=options["poll"],
        poll_interval_s=options["poll_interval"],
        rescan_s=options["rescan"],
        run_timeout_s=options["run_timeout"],
        on_done=split_command("--on-done", options["on_done"]) if options["on_done"] is not None else (),
        on_fail=split_command("--on-fail", options["on_fail"]) if options["on_fail"] is not None else (),
        hook_timeout_s=options["hook_timeout"],
        status=options["status"],
        state=options["state"],
        retry_failed=options["retry_failed"],
        keywords={} if profile is None else profile.keywords,
    )
    with Watcher(options["program"] or "watch", options["quiet"], 0, bars=False):
        watch = Watch(request)
        return watch.once() if options["once"] else watch.follow()


def _run_words(context: click.Context, options: dict[str, Any]) -> list[str]:
    """Give the words by which every run is told the options that were given for it."""
    words = ["--report"] if options["report"] else []
    if options["crunfile"] is not None:
        words += ["--crunfile", str(Path(options["crunfile"]).absolute())]
    for parameter in _run_parameters():
        name = str(parameter.name)
        value = options[name]
        if context.get_parameter_source(name) == ParameterSource.DEFAULT or value is None:
            # A run has the same default, and a run file may have another.
            continue
        if parameter.is_flag:
            words += [parameter.opts[0]] if value else []
            continue
        values: Sequence[Any] = value if parameter.multiple else [value]
        words += [f"{parameter.opts[0]}={single}" for single in values]
    return words


def _checked(options: dict[str, Any]) -> Profile | None:
    """Find out now, not at the first night, that an option is wrong or that a package is missing.

    Returns
    -------
    Profile or None
        The instrument, where one is named.

    Raises
    ------
    UsageError
        What is wrong, or what to install.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - keeps help instant

    from flatcore.errors import UsageError  # noqa: PLC0415
    from flatcore.instrument import load_profile  # noqa: PLC0415
    from flatcore.settings import resolve, run_settings  # noqa: PLC0415

    if options["plot"] == 1:
        raise UsageError("--plot 1 opens a window, and waits: expected 0, 2, 3 or 4 for a watcher")
    if options["plot"] and find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'flatcore[plots]'")
    if options["report"] and not all(find_spec(package) for package in ("bokeh", "jinja2")):
        raise UsageError("the page of a run needs Jinja2 and Bokeh: pip install 'flatcore[report]', or --no-report")
    if options["crunfile"] is not None:
        from flatcore.cli.runfile import defaults_from  # noqa: PLC0415

        for name, value in defaults_from(options["crunfile"], run.command).items():
            if name in NOT_FOR_A_WATCHER and value:
                raise UsageError(f"--crunfile {options['crunfile']}: {name} is not for runs that nobody attends")
    if options["instrument"] is None:
        run_settings(options["preset"], [], options["assignments"])
        return None
    profile = load_profile(options["instrument"])
    resolve(profile, options["preset"], [], options["assignments"])
    return profile


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _run_parameters() -> list[click.Option]:
    """Give copies of the run's options: their places in the help are others."""
    return [
        copy.copy(parameter)
        for parameter in run.command.params
        if isinstance(parameter, click.Option) and parameter.name in OF_THE_RUN
    ]


command.params.extend(_run_parameters())
arrange(command, PANELS)
hide(command, ADVANCED)
