"""Run files: defaults for the options of ``flatcore run``."""

from __future__ import annotations

import configparser
import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from flatcore.errors import UsageError


def defaults_from(name: str, command: click.Command) -> dict[str, Any]:
    """Read a run file: TOML (a table ``run``, or no table at all), or INI with a section ``[run]``.

    Returns
    -------
    dict
        Values by the parameters' names, to be converted as the options' own.

    Raises
    ------
    UsageError
        The file is missing, in neither form, or names an option there is not.
    """
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"--crunfile {name}: no such file")
    known = {
        option.lstrip("-"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    defaults: dict[str, Any] = {}
    for key, value in _table(path).items():
        parameter = known.get(key) or known.get(key.replace("_", "-"))
        if value == "None" and not (parameter and _can_be_none(parameter)):
            continue
        if parameter is None or parameter.name is None:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"--crunfile {path}: unknown option {key}{hint}")
        defaults[parameter.name] = value.split() if parameter.multiple and isinstance(value, str) else value
    return defaults


def _can_be_none(parameter: click.Parameter) -> bool:
    """Tell whether None is one of an option's own values, and does not stand for no value."""
    return isinstance(parameter.type, click.Choice) and "None" in parameter.type.choices


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--crunfile {path}: cannot be read: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as toml_error:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign] # names keep their case
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise UsageError(f"--crunfile {path}: neither TOML ({toml_error}) nor INI ({error})") from error
        if not parser.has_section("run"):
            raise UsageError(f"--crunfile {path}: no [run] section") from toml_error
        return {key: value for key, value in parser.items("run") if value}
    run = table.pop("run", {})
    if not isinstance(run, dict) or any(isinstance(value, dict) for value in table.values()):
        raise UsageError(f"--crunfile {path}: expected options by name, or a table [run] of them")
    return {**table, **run}
