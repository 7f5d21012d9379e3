"""Both kinds of database that tests run on: SQLite, and a PostgreSQL server of their own where it is installed."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    import psycopg

_SCHEMAS = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """URL of an empty database; None for the data root's own SQLite file."""
    return None if request.param == "sqlite" else fresh_postgresql()


def fresh_postgresql() -> str:
    """URL of an empty schema on the tests' server; skips the test where PostgreSQL or its driver is missing."""
    server = _server()
    if isinstance(server, str):
        pytest.skip(server)
    folder, port = server
    schema = f"test_{next(_SCHEMAS)}"
    address = f"host={quote(str(folder))}&port={port}"
    with _connect(folder, port) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"postgresql://flatcore@/postgres?{address}&options=-csearch_path%3D{schema}"


@functools.cache
def _server() -> tuple[Path, int] | str:
    """Start a server in a temporary folder, for as long as the tests run; or say why there is none."""
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError as error:
        return f"no PostgreSQL driver: {error}"
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        return "PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/initdb"
    folder = Path(tempfile.mkdtemp(prefix="flatcore-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    someone = {}
    if os.geteuid() == 0:
        # The server refuses to run as root.
        names = {entry.pw_name for entry in pwd.getpwall()}
        account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
        someone = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    initdb = [
        found[-1],
        "-D",
        folder / "data",
        "-A",
        "trust",
        "-U",
        "flatcore",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **someone)
    port = random.randint(20000, 60000)  # names the socket in the folder; no network port is opened
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [found[-1].with_name("postgres"), "-D", folder / "data", "-k", folder, "-p", str(port), "-F",
             "-c", "listen_addresses=", "-c", "max_connections=40"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=log, **someone,
        )  # fmt: skip
    atexit.register(_stop, server)
    for _ in range(200):
        try:
            _connect(folder, port).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return folder, port
    raise RuntimeError(f"PostgreSQL does not start:\n{(folder / 'log').read_text()}")


def _connect(folder: Path, port: int) -> psycopg.Connection:
    import psycopg  # noqa: PLC0415

    return psycopg.connect(host=str(folder), port=port, user="flatcore", dbname="postgres", autocommit=True)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
