"""A browser for the pages; its tests skip where there is none."""

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser on PATH, looked for {', '.join(BROWSERS)} (for example: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page in the browser, with all that it asked for and complained about."""

    def __init__(self, browser, path, width=1280, *, ready=True, **options):
        self.requests, self.complaints = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.address = path.as_uri()
        self.page.goto(self.address)
        if ready:
            # Plots are there when their script says so.
            self.page.wait_for_selector("[data-ready]", state="attached")

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def leaving(self):
        """Requests that leave the page."""
        return [url for url in self.requests if url != self.address and not url.startswith(("data:", "blob:"))]

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def columns(self):
        """First and last column that the plots show."""
        return self.page.evaluate(
            "(() => { const r = Bokeh.documents.at(-1).get_model_by_name('columns'); return [r.start, r.end]; })()"
        )


@pytest.fixture
def visit(chromium):
    """Opens pages; every one must have asked nothing of any network, and complained of nothing."""
    visits = []

    def opening(path, width=1280, **options):
        visits.append(Visit(chromium, path, width, **options))
        return visits[-1]

    yield opening
    for one in visits:
        assert one.leaving() == []
        assert one.complaints == []
        one.page.close()
