"""Whether the process that wrote a row is still there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def start_of(os_pid: int) -> str:
    """Tell two processes apart that had one number after each other: this boot, and the tick at which it started.

    Empty where the system does not tell, or there is no such process.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        # The command, the second field, may itself hold blanks and brackets.
        fields = (_PROC / str(os_pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{boot}/{fields[19]}"


def is_gone(host: str, os_pid: int, started: str) -> bool:
    """Tell whether a process of this host has ended; of other hosts nothing is known, and they count as there.

    Parameters
    ----------
    started
        What :func:`start_of` gave in it.
    """
    if host != socket.gethostname():
        return False
    try:
        os.kill(os_pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, and so there
    now = start_of(os_pid)
    return bool(started and now) and now != started
