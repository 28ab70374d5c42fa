"""The report as one HTML page that needs nothing beside it: made from the Markdown, and from the pictures' figures."""

import base64
import html
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from benchmarks.pictures import svg

Drawn = tuple[Figure, Figure]
"""A picture for a screen and one for a telephone."""
CARDS = ("task",)
"""First headings of tables whose rows are the page's answers: on a telephone each row becomes a card."""
FIGURE = re.compile(r'<p><img src="([^"]+)" alt="([^"]*)" /></p>\n<p><em>(.*?)</em></p>', re.S)
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --back: #fff; --text: #222; --line: #ddd; --shade: rgba(0, 0, 0, .3); --soft: #f3f3f3;
  --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --back: #191b1e; --text: #ddd; --line: #3a3d42; --soft: #2a2d31;
  --shade: rgba(255, 255, 255, .4); --link: #7fb8ee; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 80rem;
  margin: 2rem auto; padding: 0 1rem; }
p, ul { max-width: 50rem; }
a { color: var(--link); }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
code { background: var(--soft); }
.table { overflow-x: auto; margin: 1rem 0; background:
  linear-gradient(to right, var(--back) 40%, transparent) 0 0 / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--back) 40%, transparent) 100% 0 / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) 0 0 / 1rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) 100% 0 / 1rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; }
th { border-bottom: 2px solid var(--text); vertical-align: bottom; max-width: 9rem; }
td { white-space: nowrap; }
.cards td { white-space: normal; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; opacity: .85; margin-top: .3rem; }
.samples { display: inline-block; width: min(100%, 24rem); margin: .7rem 1rem .7rem 0; vertical-align: top; }
.samples img { border-radius: 4px; }
@media (prefers-color-scheme: dark) { .samples img { filter: invert(1) hue-rotate(180deg); } }
@media (max-width: 40rem) {
  .cards { background: none; }
  .cards table, .cards tbody, .cards tr, .cards td { display: block; }
  .cards thead { display: none; }
  .cards tr { border: 1px solid var(--line); border-radius: 6px; margin: 0 0 1rem; padding: .3rem 0; }
  .cards td { display: flex; justify-content: space-between; gap: 1rem; border: 0; text-align: right !important; }
  .cards td::before { content: attr(data-label); opacity: .75; text-align: left; flex: 0 0 45%; }
  .cards td:first-child { font-weight: bold; font-size: 1rem; }
  .cards td:first-child::before { content: none; }
}
</style>
</head>
<body>
$body</body>
</html>
""")


def anchor(heading: str) -> str:
    """Return the name by which a heading is linked to, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def page(title: str, markdown: str, drawn: Mapping[str, Drawn], folder: Path) -> str:
    """Return the page; pictures that are not drawn are read from the folder."""
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    body = re.sub(r"<h2>(.*?)</h2>", lambda x: f'<h2 id="{anchor(html.unescape(x[1]))}">{x[1]}</h2>', body)
    body = re.sub(r"<table>.*?</table>", lambda x: _table(x[0]), body, flags=re.S)
    body = FIGURE.sub(lambda x: _figure(x[1], x[2], x[3], drawn, folder), body)
    return PAGE.substitute(title=title, body=body)


def _table(text: str) -> str:
    """Return a table in a box of its own that scrolls where it is too wide, and shows that it does."""
    text = re.sub(r"\((\S+) to (\S+)\)", r"(\1&nbsp;to&nbsp;\2)", text)  # a range stays on one line
    headings = [re.sub("<.*?>", "", x) for x in re.findall(r"<th.*?>(.*?)</th>", text)]
    cards = headings[0] in CARDS

    def labelled(row: re.Match) -> str:
        labels = iter(headings)
        return re.sub(r"<td", lambda _: f'<td data-label="{next(labels)}"', row[0])

    if cards:
        text = re.sub(r"<tr>\n<td.*?</tr>", labelled, text, flags=re.S)
    return f'<div class="table{" cards" if cards else ""}" tabindex="0">{text}</div>'


def _figure(source: str, alt: str, caption: str, drawn: Mapping[str, Drawn], folder: Path) -> str:
    if source not in drawn:
        image = f'<img src="{_data("png", (folder / source).read_bytes())}" alt="{alt}">'
        return f'<figure class="samples">{image}<figcaption>{caption}</figcaption></figure>'
    wide, narrow = (_data("svg+xml", svg(figure).encode()) for figure in drawn[source])
    small = f'<source media="(max-width: 40rem)" srcset="{narrow}">'
    image = f'<picture>{small}<img src="{wide}" alt="{alt}"></picture>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
