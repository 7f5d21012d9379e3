"""Pages for people: a run explained on one page, an index of all runs, and trends from night to night.

Jinja2 and Bokeh are needed by this package and nowhere else; they are imported by whoever imports this package.
"""

from __future__ import annotations

from flatcore.errors import UsageError

try:
    import bokeh  # noqa: F401
    import jinja2  # noqa: F401
except ImportError as error:
    raise UsageError(f"report: pages need Jinja2 and Bokeh ({error}): pip install 'flatcore[report]'") from error

from flatcore.report.index import write_index
from flatcore.report.page import page_path, write_pages

__all__ = ["page_path", "write_index", "write_pages"]
