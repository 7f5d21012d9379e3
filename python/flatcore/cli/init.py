"""``flatcore init``: an instrument profile from FITS files never seen before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from flatcore.cli.helpful import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flatcore.survey import Answers, Survey

POSITIVE = click.FloatRange(min=0, min_open=True)

EPILOG = """\b
Examples:
  flatcore init night/*.fits
  flatcore init flat1.fits flat2.fits --darks 'dark*.fits' --name MYSPEC --fibers A,B --output myspec.toml --yes
  flatcore init flat1.fits flat2.fits --units adu --hdu 2 --dispersion columns

Next: flatcore bootstrap NIGHT --data-root DIR --instrument myspec.toml,
and flatcore run NIGHT with the same options."""


@click.command("init", cls=Command, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="TOML",
    help="The profile; by default NAME.toml, in lower case.",
)
@click.option("--force", is_flag=True, help="Replace a profile that is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what is given and what is found.")
@click.option("--darks", multiple=True, metavar="FILE|GLOB", help="Frames without light, beside those among FILE.")
@click.option("--biases", multiple=True, metavar="FILE|GLOB", help="Frames without exposure, beside those among FILE.")
@click.option("--name", help="Of the instrument; by default what the header says.")
@click.option("--fibers", metavar="A,B,...", help="Names of the fibres, each with traces of its own; by default A.")
@click.option(
    "--lamp",
    type=click.Choice(["FLAT_FLAT", "FLAT_DARK", "DARK_FLAT"]),
    default="FLAT_FLAT",
    show_default=True,
    help="DPRTYPE of the flats: what lights the first channel, and what the second.",
)
@click.option("--units", type=click.Choice(["adu", "adu/s"]), help="Of the pixels.")
@click.option("--dispersion", type=click.Choice(["rows", "columns"]), help="What the orders run along.")
@click.option(
    "--flip",
    type=click.Choice(["none", "x", "y", "both"]),
    default="none",
    show_default=True,
    help="Axes to reverse.",
)
@click.option("--hdu", metavar="INDEX|NAME", help="The image; by default what the headers describe.")
@click.option("--gain", type=POSITIVE, metavar="E/ADU", help="In place of the measured.")
@click.option("--readnoise", type=POSITIVE, metavar="ELECTRONS", help="In place of the measured.")
@click.option("--saturation", type=POSITIVE, metavar="ADU", help="Level above the bias.")
@click.option("--bias", type=float, metavar="ADU", help="Level without light, where there is no overscan.")
@click.option("--window", type=POSITIVE, metavar="PIXELS", help="Half-width of the extraction windows.")
@click.option("--quiet", is_flag=True, help="No table; doubts only.")
def command(files: tuple[Path, ...], **options: Any) -> None:
    """Draft an instrument profile from FITS files.

    FILE are flats, two or more of the same light, and any darks and biases: which is which is found by their light and
    exposure time. Shape, amplifiers, units, dispersion axis and keywords are found; gain and read noise are measured
    from pairs of frames. On a terminal what is found is asked about; every question is an option too.
    """
    import sys  # noqa: PLC0415 - keeps help instant

    from flatcore.survey import survey  # noqa: PLC0415
    from flatcore.writing import replacing  # noqa: PLC0415

    if options["output"] is not None:
        _refuse_to_replace(options["output"], options["force"])
    answers = _answers(options)
    darks, biases = _files(options["darks"], "--darks"), _files(options["biases"], "--biases")
    found = survey(_files([str(path) for path in files], "FILE"), darks, biases, answers)
    if not options["quiet"]:
        _show(found)
    asks = not options["yes"] and sys.stdin.isatty()
    if asks:
        changed = _asked(found, answers)
        if changed != answers:
            found = survey([*found.frames.flats], [*found.frames.darks], [*found.frames.biases], changed)
    for doubt in found.doubts:
        click.echo(f"warning: {doubt}", err=True)
    path = options["output"] or Path(f"{_plain(found.profile.name)}.toml")
    _refuse_to_replace(path, options["force"])
    with replacing(path) as temporary:
        temporary.write_text(found.text, encoding="utf-8")
    if not options["quiet"]:
        click.echo(f"{path}: profile of {found.profile.name}; look at it, correct what is wrong")


def _refuse_to_replace(path: Path, force: bool) -> None:
    from flatcore.errors import OutputError  # noqa: PLC0415 - keeps help instant

    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; --force replaces it, --output writes another")


def _answers(options: dict[str, Any]) -> Answers:
    from flatcore.survey import Answers  # noqa: PLC0415 - keeps help instant

    hdu = options["hdu"]
    return Answers(
        name=options["name"],
        fibers=_names(options["fibers"] or "A"),
        dispersion=options["dispersion"],
        units=options["units"],
        flip=options["flip"],
        hdu=int(hdu) if hdu is not None and hdu.isdecimal() else hdu,
        gain=options["gain"],
        readnoise_e=options["readnoise"],
        saturation_adu=options["saturation"],
        bias_adu=options["bias"],
        window=options["window"],
        dprtype=options["lamp"],
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(name.isidentifier() and name.isascii() for name in names) or len(set(names)) < len(names):
        raise click.UsageError(f"--fibers {text}: expected different names of letters and digits, joined by commas")
    return names


def _files(patterns: Sequence[str], option: str) -> list[Path]:
    """Give the files of paths and globs, each once."""
    from glob import glob  # noqa: PLC0415 - keeps help instant

    from flatcore.errors import InputError  # noqa: PLC0415

    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = [pattern] if Path(pattern).is_file() else sorted(glob(pattern))  # noqa: PTH207 - of any folder
        if not matches:
            raise InputError(f"{option} {pattern}: no such file")
        found |= dict.fromkeys(map(Path, matches))
    return list(found)


def _show(found: Survey) -> None:
    from rich.console import Console  # noqa: PLC0415 - keeps help instant
    from rich.table import Table  # noqa: PLC0415

    table = Table("what", "found", "from")
    for finding in found.findings:
        table.add_row(finding.what, finding.value, finding.origin)
    Console().print(table)


def _asked(found: Survey, answers: Answers) -> Answers:
    """Ask about what was found; what is left as it is stays to be found."""
    from dataclasses import replace  # noqa: PLC0415 - keeps help instant

    have = found.answers
    changes: dict[str, Any] = {}

    def ask(text: str, key: str, shown: Any, kind: Any = None) -> None:
        given = click.prompt(text, default=shown, type=kind)
        if given != shown:
            changes[key] = given

    ask("Name", "name", have.name, str)
    fibers = click.prompt("Fibres, joined by commas", default=",".join(have.fibers))
    if fibers != ",".join(have.fibers):
        changes["fibers"] = _names(fibers)
    ask("Orders run along", "dispersion", have.dispersion, click.Choice(["rows", "columns"]))
    ask("Units of the pixels", "units", have.units, click.Choice(["adu", "adu/s"]))
    ask("Gain [e-/ADU]", "gain", _rounded(have.gain), POSITIVE)
    ask("Read noise [e-]", "readnoise_e", _rounded(have.readnoise_e), POSITIVE)
    ask("Saturation [ADU]", "saturation_adu", _rounded(have.saturation_adu), POSITIVE)
    ask("Half-width of the extraction windows [pixel]", "window", _rounded(have.window), POSITIVE)
    return replace(answers, **changes)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())
