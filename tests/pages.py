"""Pages as tests read them: their texts, tables and attributes."""

from html.parser import HTMLParser

RAW = ("script", "style")


class Page(HTMLParser):
    """A page's visible text, its tables by identifier, its tags with attributes, and what lies in its scripts."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.tables, self.scripts = [], [], {}, []
        self._open, self._table, self._cell = [], None, None
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in RAW:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attributes["id"], [])
        if tag == "tr":
            self._table.append([])
        if tag in ("td", "th"):
            self._table[-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        if tag in RAW:
            self._open.pop()
        if tag in ("td", "th"):
            self._cell = None
        if tag == "table":
            self._table = None

    def handle_data(self, data):
        if self._open:
            self.scripts.append(data)
            return
        self.texts.append(data)
        if self._cell:
            self._table[-1][-1] += data.strip()

    def column(self, table, heading):
        """The cells below a heading."""
        head, *rows = self.tables[table]
        return [row[head.index(heading)] for row in rows]

    def addresses(self):
        """Everything that a browser might load, or a reader might follow."""
        return [a[name] for _, a in self.tags for name in ("src", "href", "srcset", "data", "action") if a.get(name)]
