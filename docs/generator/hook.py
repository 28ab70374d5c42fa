"""What mkdocs calls: adds the generated pages and the navigation, runs the blocks, links the names, checks the end."""

import logging
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # most programs run once
os.environ.setdefault("MPLBACKEND", "agg")

from docs.generator import blocks, content, figures, links, names, navigation

log = logging.getLogger("mkdocs.gradx")
WIDE = ("howto/", "choose/races", "choose/cost", "coming-from/torch", "coming-from/keras", "gallery/")
"""Pages whose code or tables take the place of the list of contents."""
_printed: dict[str, list[str]] = {}


SHIM = "assets/iframe-worker/shim.js"
"""Lets search run from a folder; the theme would fetch it from another host."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the shim that lies in the sources."""
    config.extra["polyfills"] = [SHIM if "iframe-worker" in x else x for x in config.extra.get("polyfills", [])]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, and say where everything stands."""
    if str(ROOT) not in sys.path:  # mkdocs takes away what a hook put there while it was loaded
        sys.path.insert(0, str(ROOT))
    by_hand = {f.src_uri: f.content_string for f in files.documentation_pages()}
    made = content.generated()
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    pages = by_hand | {path: text for path, text in made.items() if path.endswith(".md") and isinstance(text, str)}
    config.nav = navigation.navigation(pages)
    run_here = {path: text for path, text in pages.items() if not path.startswith(("reference/", "learn/"))}
    _printed.update(blocks.outputs(run_here))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show what blocks print; make links of names."""
    path = page.file.src_uri
    if path.startswith(WIDE):
        page.meta.setdefault("hide", ["toc"])
    if path in _printed:
        markdown = blocks.shown(markdown, _printed[path])
    linked, unknown = links.linked(figures.filled(markdown), path)
    if not path.startswith("about/changelog"):
        for name in unknown:
            log.warning("%s: gradx has no public name %r", path, name)
    return linked


def on_post_build(config: MkDocsConfig, **kwargs: Any) -> None:
    """Every public name has its place on a page that was built."""
    for name in names.public().values():
        built = Path(config.site_dir, f"{name.page}.html")
        if not built.exists() or not re.search(rf'id="?{re.escape(name.dotted)}["\s>]', built.read_text()):
            log.warning("no place for %s on %s", name.dotted, posixpath.basename(name.page))
