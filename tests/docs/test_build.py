"""The site is built, strict; its links, anchors and names hold; a browser opens every page."""

import functools
import html.parser
import http.server
import os
import posixpath
import re
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

import gradx
from docs.generator import names
from tests.docs import browser

ROOT = Path(gradx.__file__).parents[1]
DESKTOP, PHONE = (1280, 900), (390, 844)
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


class Page(html.parser.HTMLParser):
    """What a page names and what it asks for."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.asks: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.asks.append(given["src"])
        if tag == "link" and given.get("href") and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.asks.append(given["href"])


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_to_a_page_and_a_place_on_it(site, pages):
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"(https?:|mailto:|javascript:)", link) or path == "404.html":
                continue
            target, _, place = link.partition("#")
            at = (
                posixpath.normpath(posixpath.join(posixpath.dirname(path), urllib.parse.unquote(target)))
                if target
                else path
            )
            if at in pages:
                if place and urllib.parse.unquote(place) not in pages[at].ids and not place.startswith("__"):
                    wrong.append(f"{path}: {link}")
            elif not (site / at).exists():
                wrong.append(f"{path}: {link}")
    assert wrong == []


def test_every_public_name_has_its_place(pages):
    assert [x.dotted for x in names.public().values() if x.dotted not in pages[f"{x.page}.html"].ids] == []


def test_nothing_comes_from_another_host(site, pages):
    asked = [ask for page in pages.values() for ask in page.asks if re.match(r"(https?:)?//", ask)]
    assert asked == []
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", path.read_text()), path


def test_the_front_page_answers_in_two_clicks(pages):
    assert {"start/install.html", "choose/index.html", "coming-from/optax.html"} <= set(pages["index.html"].links)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine: apt-get install chromium")
def test_a_browser_opens_every_page_without_a_complaint(pages, address, tmp_path):
    """At both widths, in both schemes: one of each pair for every page, all four for every fifth."""
    window = browser.Browser(tmp_path)
    wrong = []
    try:
        looks = [(DESKTOP, False), (PHONE, True), (DESKTOP, True), (PHONE, False)]
        for turn, (size, dark) in enumerate(looks):
            window.look(*size, dark)
            for path in list(pages)[:: 1 if turn < 2 else 5]:
                if path == "404.html":
                    continue
                said = window.open(f"{address}/{path}")
                if path == "learn/explorer-page.html":  # one file that asks for nothing, a picture for its tab included
                    said = [complaint for complaint in said if "/favicon.ico" not in complaint]
                wrong += [f"{path}: {complaint}" for complaint in said]
                wide = window.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if wide > 1:
                    wrong.append(f"{path} is {wide} pixels wider than {size[0]}")
                if window.ask("document.querySelectorAll('.katex-error').length"):
                    wrong.append(f"{path}: a formula that KaTeX does not read")
        window.look(*DESKTOP, False)
        window.open(f"{address}/choose/races.html")
        pressed = (
            "document.querySelector('.race .legend button').click(), document.querySelectorAll('.race svg path').length"
        )
        assert window.ask(pressed) > 0
    finally:
        window.close()
    assert wrong == []
