"""Templates to pages, each written whole or not at all."""

from __future__ import annotations

import html
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flatcore.version import VERSION
from flatcore.writing import replacing

# Characters of a page in which its head says which run it explains.
HEAD = 2000


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flatcore.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    # The plotting library reads its models in the order in which they were written.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals["asset"] = _asset
    environment.globals["version"] = VERSION
    return environment


def _asset(name: str) -> Markup:
    """Give a script or a style sheet of the templates' folder as it is: it is part of flatcore."""
    text = resources.files("flatcore.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)


def run_of_page(path: Path) -> str:
    """Give the identifier of the run that a page explains; empty where there is no such page."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        found = re.search(r'<meta name="flatcore-run" content="([^"]*)">', file.read(HEAD))
    return html.unescape(found.group(1)) if found else ""


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page.

    Raises
    ------
    OutputError
        The folder or the disk does not take the file; nothing is left behind.
    """
    page = _environment().get_template(template).render(**content)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
