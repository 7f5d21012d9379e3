"""Commands that are called when a night has been run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flatcore.errors import UsageError

# Standard error, where all that a watcher tells goes.
STANDARD_ERROR = 2


def split_command(option: str, text: str) -> tuple[str, ...]:
    """Split a command into words as a shell does; no shell is asked.

    Raises
    ------
    UsageError
        A quote is not closed, or there is no word.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from error
    if not words:
        raise UsageError(f"{option}: expected a command")
    return words


def check_program(option: str, words: tuple[str, ...]) -> None:
    """Find out before any night is made that a command cannot be started; of what it calls itself nothing is known.

    Parameters
    ----------
    option
        That gave the command.
    words
        Program and arguments; the program is a path, or a name that is looked for on PATH.

    Raises
    ------
    UsageError
        There is no such program, or it is not executable.
    """
    name = words[0]
    if shutil.which(name) is not None:
        return
    command = f"{option} {shlex.join(words)}"
    if os.sep in name:
        path = Path(name).absolute()
        found = "is a folder" if path.is_dir() else "is not executable" if path.exists() else "there is no such file"
        raise UsageError(f"{command}: {path}: {found}, expected a program")
    searched = os.pathsep.join(os.get_exec_path())
    raise UsageError(f"{command}: found no executable file {name!r} on PATH ({searched}), expected a program")


def call_hook(
    words: tuple[str, ...], told: Mapping[str, Any], environment: Mapping[str, str], timeout_s: float
) -> str | None:
    """Call a command with JSON on its standard input; what it prints goes to standard error.

    Parameters
    ----------
    words
        Program and arguments.
    told
        What the JSON holds.
    environment
        Variables to add.
    timeout_s
        The command and all that it started are ended after this time [s].

    Returns
    -------
    str or None
        What went wrong; None where nothing did.
    """
    name = shlex.join(words)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=STANDARD_ERROR,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        return f"{name}: cannot be started: {error}"
    with process:
        try:
            process.communicate(json.dumps(told).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"{name}: took longer than {timeout_s:g} s (--hook-timeout), and was ended"
    if process.returncode:
        return f"{name}: ended with status {process.returncode}"
    return None
