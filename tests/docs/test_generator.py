"""What the site is made of: blocks that stop the build, figures and pages from their sources, what mkdocs calls."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradx
from benchmarks import claims
from docs.generator import (
    about,
    blocks,
    content,
    evidence,
    figures,
    gallery,
    kept,
    names,
    navigation,
    notebooks,
    paths,
    plots,
    reference,
)

ROOT = Path(gradx.__file__).parents[1]


def test_the_list_of_all_names_lists_every_name():
    page = reference.all_names()
    for name in names.public().values():
        assert f"- [`{name.dotted}`]({name.url.removeprefix('reference/')})\n" in page
    functions = [name for name in names.public().values() if name.is_function]
    assert any("    *,\n" in reference.signature(name) for name in functions)
    for name in functions:
        kinds = {p.kind for p in inspect.signature(name.thing).parameters.values()}
        starred = inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds
        shown = reference.signature(name)
        assert ("    *,\n" in shown) == ("\n" in shown and starred), name.dotted


def test_a_block_that_raises_stops_the_build(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    page = "```python\nprint(1)\n```\n"
    with pytest.raises(RuntimeError, match="a block of the documentation raises:") as stopped:
        blocks.outputs({"bad.md": "```python\n1 / 0\n```\n", "good.md": page})
    assert "ZeroDivisionError" in str(stopped.value)
    assert blocks.outputs({"good.md": page, "other.md": page.replace("1", "2")}) == {
        "good.md": ["1\n"],  # is kept
        "other.md": ["2\n"],
    }


@pytest.fixture
def hook(monkeypatch):
    """What mkdocs calls, with no page of any build; it asks for variables that are there already."""
    for name, x in (("JAX_PLATFORMS", "cpu"), ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1"), ("MPLBACKEND", "agg")):
        monkeypatch.setenv(name, x)
    module = importlib.import_module("docs.generator.hook")
    monkeypatch.setattr(module, "_printed", {})
    return module


class Files(list):
    """The files of a build."""

    def documentation_pages(self):
        return [SimpleNamespace(src_uri=path, content_string="# A page") for path in ("index.md", "howto/clip.md")]


def test_while_the_site_is_made_blocks_run_and_names_are_looked_up(hook, monkeypatch, caplog):
    made = dict.fromkeys(("coming-from/torch.md", "reference/losses.md", "learn/01_first.md", "x.png"), "# Made")
    monkeypatch.setattr(hook.content, "generated", lambda: made)
    monkeypatch.setattr(hook.blocks, "outputs", lambda pages: {path: ["42"] for path in pages})
    monkeypatch.setattr(hook, "File", SimpleNamespace(generated=lambda config, path, content: path))
    config, files = SimpleNamespace(nav=None), Files()
    hook.on_files(files, config)
    assert files == list(made)
    assert {"howto/clip.md", "coming-from/torch.md", "learn/01_first.md"} <= set(navigation.paths_of(config.nav))
    assert set(hook._printed) == {"index.md", "howto/clip.md", "coming-from/torch.md"}  # others are run elsewhere

    def shown(path):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=path), meta={})
        text = "`gradx.adam` and `gradx.no_such`\n\n```python\nx\n```\n"
        return hook.on_page_markdown(text, page, config, files)

    assert "gradx.adam`](../reference/optimizers/adam.md#gradx.adam)" in shown("howto/clip.md")
    assert "42" in shown("howto/clip.md")
    caplog.clear()
    shown("howto/clip.md")
    shown("about/changelog.md")  # names of old times
    assert [x.getMessage() for x in caplog.records] == ["howto/clip.md: gradx has no public name 'gradx.no_such'"]


def test_the_end_of_the_build_looks_for_every_page_and_every_name(hook, monkeypatch, caplog, tmp_path):
    places = {"adam": "a", "adamw": "a", "sgd": "b"}
    many = {f"gradx.{x}": names.Name(f"gradx.{x}", f"reference/{y}", None) for x, y in places.items()}
    monkeypatch.setattr(hook.names, "public", lambda: many)
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "a.html").write_text('<h2 id="gradx.adam">adam</h2>')
    config = SimpleNamespace(nav=[{"A": "reference/a.md"}, {"How to": [{"Gone": "howto/gone.md"}]}], site_dir=tmp_path)
    hook.on_post_build(config)
    assert [x.getMessage() for x in caplog.records] == [
        "howto/gone.md is in the navigation and was not built",
        "no place for gradx.adamw on a",
        "no place for gradx.sgd on b",
    ]


def test_figures_are_read_from_their_columns(monkeypatch, tmp_path):
    """Of results that are made up."""
    (tmp_path / "images").mkdir()
    table = (
        "| optimizer | rate | accuracy |\n| --- | ---: | ---: |\n| **sgd** | 0.3 | 97% |\n| adam | 0.1 | **98%** |\n"
    )
    (tmp_path / "images" / "table.md").write_text(table)
    rows = {"language": ["language: bits", "adamw", "2.4", "muon", "2.1", "-0.3", "no", "5", "2.2"]}
    metrics = [0.9, 0.95, 0.945, None, "NaN"]
    race = {"task": "images", "metric": {"higher_is_better": True}}
    race["tuning"] = {name: {"metrics": metrics} for name in ("sgd", "momentum", "rmsprop", "adam", "adamw")}
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "RESULTS", tmp_path)
        patch.setattr(evidence, "summary", lambda: rows)
        patch.setattr(evidence, "races", lambda: [race])
        assert (figures.cell("images", "adam", "2"), figures.cell("images", "sgd", "1")) == ("98%", "0.3")
        assert figures.table("images", "0", "2").splitlines()[3] == "| adam | **98%** |"
        assert figures.verdict("language") == (
            "Textbooks say adamw. Was it the best? **No**: 2.4, against 2.1 of muon, 5 seeds"
        )
        assert figures.valleys().splitlines()[2] == "| images |" + " 2 of 5 |" * 5
    monkeypatch.setattr(evidence, "summary", lambda: rows)
    assert "#language-" in evidence.recipes_page()
    assert ") | 2.2 | adamw: 2.4 | no |" in evidence.recipes_page()


def test_the_number_of_claims_is_that_of_the_kept_ones():
    groups = claims.read(evidence.CLAIMS.parent / claims.KEPT)
    verdicts = [claim.verdict for group in groups.values() for claim in group.claims]
    told = evidence.claims() or ""
    assert told.startswith(f"Of {len(verdicts)} claims: holds {verdicts.count('holds')}, ")


def test_pages_that_are_made_hold_what_their_sources_say():
    programs = {path.stem: path.read_text() for path in gallery.FOLDER.glob("*.py")}
    programs = {
        stem: text for stem, text in programs.items() if "__main__" in text and ast.get_docstring(ast.parse(text))
    }
    made = gallery.pages()
    assert [gallery.title_of(x) for x in ("nnx_cnn", "gpt", "fine_tuning")] == ["nnx CNN", "GPT", "Fine tuning"]
    assert set(made) == {"gallery/index.md", *(f"gallery/{stem}.md" for stem in programs)}
    for stem, text in programs.items():
        code = made[f"gallery/{stem}.md"].split("```{ .python .no-run }\n")[1].removesuffix("\n```\n")
        assert ast.dump(ast.parse(code)) == ast.dump(ast.Module(ast.parse(text).body[1:], [])), stem
        assert f"]({stem}.md) |" in made["gallery/index.md"]
        assert "–" not in gallery.reached(f"{stem}.py")
    tested = re.findall(
        r"^(?:jax|jaxlib|numpy|flax|optax)==(\S+?)(?:;.*)?$", (ROOT / "requirements.txt").read_text(), re.M
    )
    rows = about.versions().split("The suite last passed with")[1]
    assert len(tested) >= 5
    assert {line.split(" | ")[0] for line in rows.splitlines() if line.startswith("| ")} == {
        f"| {name}" for name in ("package", "---", "jax", "jaxlib", "numpy", "flax", "optax")
    }
    assert all(version in rows for version in tested)
    assert f"version = {{{gradx.__version__}}}" in about.citation()
    assert all(f"]({x})" in about.reference_index() for x in ("optimizers/index.md", "losses.md", "names.md"))
    many = [notebooks.Page(f"learn/0{i}.md", f"Title {i}", f"goal {i}", f"{i} minutes", "") for i in (1, 2)]
    rows = content._learn(many).splitlines()
    assert {f"| [Title {i}](0{i}.md) | goal {i} | {i} minutes |" for i in (1, 2)} <= set(rows)


def test_pictures_stand_upright_and_show_the_best_rate(monkeypatch, tmp_path):
    left, right, bottom, top = paths.SURFACES["ravine"].window
    corners = paths._placed(np.array([[left, top], [right, bottom]]), "ravine")
    np.testing.assert_allclose(corners, [[0, 0], [paths.SIZE, paths.SIZE]])
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    monkeypatch.setattr(paths, "RATES", (0.01, 0.1, 1e-4))  # across the ravine a tenth is too much
    assert paths.path(names.find("gradx.sgd"), "ravine")["rate"] == 0.01
    monkeypatch.setattr(paths, "RATES", (0.03, 1.0))  # with one it leaps out of the picture, and back to the minimum
    assert paths.path(names.find("gradx.acprop"), "ravine")["rate"] == 0.03
    monkeypatch.setattr(paths, "RATES", (1.0,))
    assert paths.path(names.find("gradx.acprop"), "ravine")["end"] < 1e-9
    drawn = re.search(r'points="([^"]+)"', plots.curve(np.array([0.0, 0.5, 1.0])))[1]
    heights = [float(point.split(",")[1]) for point in drawn.split()]
    assert heights == sorted(heights, reverse=True)  # pixels count downwards
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.1)


def test_a_change_of_any_source_makes_another_library(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    (tmp_path / "gradx" / "viz").mkdir(parents=True)
    seen = set()
    for number, file in enumerate(("a.py", "a.py", "viz/explorer.html", "a.pyc")):
        (tmp_path / "gradx" / file).write_text(f"{number}")
        seen.add(kept.sources.__wrapped__())
    assert len(seen) == 3  # what Python compiles is no source
