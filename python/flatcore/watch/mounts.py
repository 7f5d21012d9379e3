"""Which folders lie on a disk of another machine, where the system does not tell of changes."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/mounts")

# Kinds of file systems that others change without this system knowing.
NETWORK = ("nfs", "cifs", "smb", "fuse", "ceph", "lustre", "glusterfs", "beegfs", "gpfs", "afs", "9p", "ncpfs",
           "virtiofs", "ocfs2", "gfs2", "pvfs2", "panfs", "vboxsf", "davfs", "coda", "prl_fs")  # fmt: skip

# Of those called fuse…, the local ones that do tell.
LOCAL_FUSE = ("fuseblk", "fusectl", "fuse.lxcfs")


def network_kind(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Give the kind of the network file system on which a path lies, or something below it; None where there is none.

    Parameters
    ----------
    path
        A file or folder; it need not exist.
    mounts
        The system's list of what is mounted where; systems other than Linux have none.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    wanted = path.resolve()
    kind = ""
    longest = -1
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        if point.is_relative_to(wanted) and point != wanted and _is_network(fields[2]):
            return fields[2]
        # The later of two on the same point hides the earlier.
        if wanted.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), fields[2]
    return kind if _is_network(kind) else None


def _is_network(kind: str) -> bool:
    return kind.startswith(NETWORK) and kind not in LOCAL_FUSE


def _unescaped(text: str) -> str:
    """Blanks and the like stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
