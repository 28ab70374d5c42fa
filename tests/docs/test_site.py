"""The site's parts without building it: every name has a page, every question a link, every page a place."""

import inspect
import itertools
import json
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import gradx
from docs.generator import (
    blocks,
    coming_from,
    docstrings,
    evidence,
    examples,
    figures,
    formulas,
    kept,
    links,
    names,
    navigation,
    notebooks,
    paths,
    peers,
    plots,
    reference,
    release,
)

ROOT = Path(gradx.__file__).parents[1]
DOCS = ROOT / "docs"
BY_HAND = {path: text for path, text in blocks.pages(DOCS).items() if path != "optax.md"}
QUESTIONS = {
    "how to install for my device": "start/install.md",
    "train an nnx model": "start/tour.md#a-model",
    "train a linen model": "start/tour.md#a-model",
    "change the rate": "howto/change-rate.md",
    "warm up": "howto/warmup.md",
    "clip": "howto/clip.md",
    "freeze": "howto/freeze.md",
    "decay only kernels": "howto/decay-kernels.md",
    "accumulate": "howto/accumulate.md",
    "bfloat16": "howto/bfloat16.md",
    "resume": "howto/checkpoint.md",
    "average": "howto/average.md",
    "several devices": "howto/devices.md",
    "which optimizer": "choose/index.md",
    "why is my loss NaN": "howto/loss-is-wrong.md",
    "what is different from Optax": "coming-from/optax.md#what-is-different",
    "will my Optax program run": "coming-from/optax.md",
    "how do I write one": "howto/write-your-own.md",
    "what does it cost": "choose/cost.md",
    "who says so": "choose/races.md",
}
TABBED = [path for path in BY_HAND if path.startswith("howto/") and path != "howto/index.md"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_click_from_the_front_page_answers(question):
    assert f"]({QUESTIONS[question]})" in BY_HAND["index.md"]


def test_every_public_name_has_one_place():
    public = names.public()
    for space in names.namespaces():
        module = getattr(gradx, space, None)
        if inspect.ismodule(module) and space not in (names.CORE, names.BLOCKS):
            for name in module.__all__:
                thing = getattr(module, name)
                assert any(x.thing is thing for x in public.values() if x.short == name), f"{space}.{name}"
    for name in gradx.__all__:
        assert inspect.ismodule(getattr(gradx, name)) or f"gradx.{name}" in public
    assert len(names.optimizers()) >= 60
    assert {x.short for x in names.optimizers()} >= {"adam", "sgd", "muon", "schedule_free_adamw", "lbfgs"}
    assert "scale_by_adam" not in {x.short for x in names.optimizers()}


def test_a_new_namespace_gets_a_page(monkeypatch):
    monkeypatch.setattr(names, "namespaces", lambda: ["optimizers", "novelty"])
    shown = navigation.navigation({"index.md": "# gradx", "reference/novelty.md": "# Novelty"})
    assert {"Novelty": "reference/novelty.md"} in next(x["Reference"] for x in shown if "Reference" in x)


def test_pages_that_others_write_have_their_place():
    pages = {
        "index.md": "# gradx",
        "sharding.md": "# Past one device",
        "howto/clip.md": "# Clip",
        "howto/warmup.md": "# Warm up",
        "learn/claims.md": "# Claims",
        "new.md": "# Something new",
    }
    shown = {key: value for entry in navigation.navigation(pages) for key, value in entry.items()}
    howto = [{"Warm up": "howto/warmup.md"}, {"Clip": "howto/clip.md"}, {"Past one device": "sharding.md"}]
    assert shown["How to"] == howto  # as a course has them, then others by name
    assert shown["Learn"] == [{"Claims": "learn/claims.md"}]
    assert shown["Extend"] == [{"Something new": "new.md"}]
    assert set(shown) == {"gradx", "Learn", "How to", "Reference", "Extend"}


def test_every_page_is_in_the_navigation():
    made = {f"{x.page}.md" for x in names.public().values()} | set(coming_from.pages())
    made |= {f"reference/{space}.md" for space in names.namespaces() if space != "optimizers"}
    made |= {"reference/index.md", "reference/names.md", "reference/optimizers/index.md", "choose/races.md"}
    pages = BY_HAND | dict.fromkeys(made, "# A page")
    assert sorted(navigation.paths_of(navigation.navigation(pages))) == sorted(pages)


@pytest.mark.parametrize("path", BY_HAND)
def test_names_in_pages_are_known_and_links_lead_somewhere(path):
    text = BY_HAND[path]
    assert links.linked(text, path)[1] == []
    made = set(BY_HAND) | {f"{name.page}.md" for name in names.public().values()} | set(coming_from.pages())
    made |= {
        "choose/races.md",
        "choose/recipes.md",
        "choose/cost.md",
        "reference/optimizers/index.md",
        "learn/index.md",
    }
    made |= {"about/versions.md", "about/changelog.md", "about/citation.md"}
    made |= {f"learn/{file.stem}.md" for file in notebooks.FOLDER.glob("*.ipynb")}
    for target in re.findall(r"\]\(([^)#:\s]+\.md)(?:#[^)]*)?\)", text):
        assert posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) in made, target


@pytest.mark.parametrize("path", TABBED)
def test_recipes_are_in_nnx_and_in_linen(path):
    found = blocks.blocks(BY_HAND[path])
    assert {"nnx", "linen"} <= {block.tab for block in found if block.runs}


def test_there_are_the_recipes_that_were_asked_for():
    assert [f"howto/{name}.md" for name in navigation.ORDER["howto"]] == sorted(
        TABBED, key=lambda p: navigation.ORDER["howto"].index(Path(p).stem)
    )
    assert all(path in BY_HAND["howto/index.md"] for path in (Path(p).name for p in TABBED))


@pytest.mark.parametrize("peer", [p for p in peers.ALL if p.ours], ids=lambda p: p.theirs)
def test_what_stands_beside_another_librarys_call_is_a_call_here(peer):
    made = eval(peer.ours, {"gradx": gradx, "jnp": jnp, "mask": True, "label": lambda params: "body"})
    assert callable(made) or isinstance(made, gradx.GradientTransformation)


def test_a_longer_name_is_another_optimizer():
    longer = peers.Peer("AdamW(params)", "gradx.chain(gradx.clip(1.0), gradx.adamw(1e-3))")
    assert longer.uses("adamw")
    assert not longer.uses("adam")


def test_every_optimizer_and_scheduler_of_torch_is_there():
    optimizers = "Adadelta Adafactor Adagrad Adam AdamW SparseAdam Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD"
    schedulers = (
        "LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR PolynomialLR CosineAnnealingLR"
        " ChainedScheduler SequentialLR ReduceLROnPlateau CyclicLR OneCycleLR CosineAnnealingWarmRestarts"
    )
    assert set(optimizers.split()) == {peer.name for peer in peers.TORCH_OPTIMIZERS}
    assert set(schedulers.split()) <= {peer.name for peer in peers.TORCH_SCHEDULERS}
    assert "StepLR" in coming_from.torch()
    assert "Ftrl" in coming_from.keras()


def test_every_name_of_optax_is_there():
    page = coming_from.optax()
    from gradx.compat import check

    rows = [line for line in check.table().splitlines() if line.startswith("| `optax")]
    assert len(rows) > 400
    for row in rows:
        assert row.split("`")[1] in page


def test_every_schedule_has_its_curve():
    assert set(plots.EXAMPLES) == {
        name for name in gradx.schedules.__all__ if name in plots.EXAMPLES or name.endswith("schedule")
    }
    for name, call in plots.EXAMPLES.items():
        assert call.startswith(f"gradx.{name}(")
        assert len(plots.values_of(call)) == plots.STEPS + 1


@pytest.mark.parametrize("short", ["sgd", "adamw", "polyak_sgd"])
def test_a_page_of_an_optimizer_has_all_that_it_should(short, monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    monkeypatch.setattr(paths, "RATES", (0.01, 0.1))
    examples.program.cache_clear()
    name = names.find(f"gradx.{short}")
    page = reference.optimizer_page(name, ["step   0   loss 1.0"], {"sgd": ["12.0", "12.0", "12.0", "0.0", "0.0"]})
    examples.program.cache_clear()
    for part in (
        "# " + short,
        "```python\ngradx.",
        "| argument |",
        "u_t = -\\eta",
        "](index.md#letters)",
        'class="paths"',
        "bytes of state",
        f"tx = gradx.{short}(",
        "In other libraries",
        "arXiv" if short != "sgd" else "reads and writes",
    ):
        assert part in page, part
    assert page.count('class="way"') == 3
    assert ("value=loss" in page) == (short == "polyak_sgd")
    compile(page.split("## An example that runs")[1].split("```python\n")[1].split("```")[0], short, "exec")


def faults_of(rule: str) -> list[str]:
    """Return what is wrong with the form of a formula in TeX."""
    found, opened = [], []
    bare = re.sub(r"\\\\(?![a-z])|\\[{}]", " ", rule)  # ends of lines, and braces that are seen
    depths = list(itertools.accumulate({"{": 1, "}": -1}.get(x, 0) for x in bare))
    if min(depths, default=0) < 0 or depths[-1:] != [0]:
        found.append("braces")
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", rule):
        if kind == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            found.append(f"end of {name}")
    found += [f"{name} has no end" for name in opened]
    sides = [len(re.findall(rf"\\{side}(?![a-z])", rule)) for side in ("left", "right")]
    found += ["left and right"] if sides[0] != sides[1] else []
    found += ["a blank line ends the block"] if "\n\n" in rule else []
    found += ["a dollar"] if "$" in rule else []
    return found


def test_every_optimizer_has_one_update_rule_and_no_rule_is_left_over():
    listed = [short for rules in formulas.FAMILIES.values() for short in rules]
    assert sorted(listed) == [name.short for name in names.optimizers()]
    assert {short: faults_of(rule) for short, rule in formulas.FORMULAS.items() if faults_of(rule)} == {}
    assert [short for short, rule in formulas.FORMULAS.items() if "u_t" not in rule] == []


@pytest.mark.parametrize(
    "rule", ["{a", "a}{", r"\begin{cases} a", r"\begin{cases} \end{gathered}", r"\left( a", "a\n\nb", "$a"]
)
def test_a_rule_of_bad_form_is_seen(rule):
    assert faults_of(rule)
    assert faults_of(r"\left\{ a \right\} \\ \begin{cases} b_{t'} \leftarrow c \end{cases}") == []


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_katex_reads_every_rule():
    rules = formulas.FORMULAS | {f"letters {i}": x for i, x in enumerate(re.findall(r"\$([^$]+)\$", formulas.LETTERS))}
    program = """
        const katex = require(process.argv[1]), rules = JSON.parse(require("fs").readFileSync(0, "utf8"))
        for (const [name, tex] of Object.entries(rules)) try {
          katex.renderToString(tex, {displayMode: true, throwOnError: true, strict: "error"})
        } catch (error) { console.log(name, error.message) }
    """
    command = ["node", "-e", program, str(DOCS / "assets/katex/katex.min.js")]
    done = subprocess.run(command, input=json.dumps(rules), capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_the_bytes_of_a_state_are_counted():
    assert reference.state_bytes(names.find("gradx.adam"), (64, 64)) == pytest.approx(8, abs=0.01)
    assert reference.state_bytes(names.find("gradx.lion"), (64, 64)) == pytest.approx(4, abs=0.01)


def test_docstrings_come_apart():
    found = docstrings.parse(gradx.adamw)
    assert found.summary.startswith("AdamW")
    assert "b1, b2" in found.arguments
    assert "mask" in found.arguments
    assert docstrings.papers(found) == ["1711.05101"]
    assert found.example.startswith(">>> import gradx")
    assert any(part.startswith("State:") for part in found.tail)
    assert docstrings.in_cell("a | b `c | d` e_f") == "a \\| b `c \\| d` e\\_f"

    def documented():
        """Do.

        Args:
          a: one,
            and more.
          b: other.
        """

    assert docstrings.parse(documented).arguments == {"a": "one, and more.", "b": "other."}


PAGE = """# A page

```python
x = 1
```

=== "nnx"

    ```python
    print(x + 1)
    x = 5
    ```

=== "linen"

    ```python
    print(x + 2)
    ```

```{ .python .no-run }
raise SystemExit
```
"""


def test_blocks_run_in_the_namespace_of_their_tab():
    assert [block.tab for block in blocks.blocks(PAGE)] == ["", "nnx", "linen", ""]
    assert blocks.run(PAGE) == ["", "2\n", "3\n", ""]
    shown = blocks.shown(PAGE, blocks.run(PAGE))
    expected = PAGE
    for last, said in (("x = 5", "2"), ("print(x + 2)", "3")):
        output = f'    ``` {{ .text .output title="prints" }}\n    {said}\n    ```'
        expected = expected.replace(f"    {last}\n    ```\n", f"    {last}\n    ```\n\n{output}\n")
    assert shown == expected
    assert shown.count('title="prints"') == 2
    with pytest.raises(ZeroDivisionError):
        blocks.run("```python\n1 / 0\n```\n")


def test_names_become_links_outside_of_code():
    text = "`gradx.adam(0.1)`, `gradx.losses`, `gradx.no_such`, [`gradx.sgd`](x.md)\n\n```python\n`gradx.adam`\n```\n"
    linked, unknown = links.linked(text, "howto/clip.md")
    assert "[`gradx.adam(0.1)`](../reference/optimizers/adam.md#gradx.adam)" in linked
    assert "[`gradx.losses`](../reference/losses.md)" in linked
    assert unknown == ["gradx.no_such"]
    assert linked.count("[`gradx.sgd`](x.md)") == 1
    assert "```python\n`gradx.adam`\n```" in linked


def test_figures_are_those_of_the_kept_results():
    assert figures.filled("{{ cell images adam 2 }}") == figures.cell("images", "adam", "2")
    assert "%" in figures.cell("images", "adam", "2")
    with pytest.raises(LookupError):
        figures.filled("{{ cell images nobody 2 }}")
    with pytest.raises(KeyError):
        figures.filled("{{ unheard of }}")
    assert "of 5" in figures.valleys()
    assert "adamw" in figures.verdict("language")
    assert figures.filled("{{ recipe recurrent }}").startswith("`gradx.recipes.recurrent`: Muon with warmup")


@pytest.mark.parametrize("path", [path for path, text in BY_HAND.items() if "{{ " in text])
def test_pages_with_figures_can_be_filled(path):
    text = re.sub(r"\{\{ (path|states)[^}]*\}\}", "", BY_HAND[path])  # these compile
    assert "{{" not in figures.filled(text)


def test_races_have_curves_for_everybody_who_raced():
    for race in evidence.races():
        data = evidence.curves(race)
        assert {line["name"] for line in data["lines"]} == {run["optimizer"] for run in race["runs"] if run["finished"]}
        assert all(low <= mean <= high for line in data["lines"] for _, mean, low, high in line["points"])
    assert evidence.recipes_page().count("## ") == len(gradx.recipes.suggestions.SUGGESTIONS)


def test_notebooks_become_pages():
    for page in notebooks.pages():
        assert page.goal, page.path
        assert "minutes" in page.time, page.path
        assert "Exercise" in page.text, page.path
        assert "??? success" in page.text or "<summary>Answer" in page.text, page.path  # folded
        assert "Next" in page.text, page.path
        assert page.pictures, page.path
        assert page.text.count("![What the cell above draws](") == len(page.pictures)
        assert all(name.removeprefix("learn/") in page.text for name in page.pictures)
        assert ".ipynb)" not in page.text
        assert "google.colab" not in page.text


def test_notes_of_a_release():
    assert set(release.sections()) >= {"0.1.0"}
    for version in release.sections():
        assert release.notes(version).startswith(f"# gradx {version}\n\n")
        assert len(release.notes(version)) > 200
    done = subprocess.run(
        [sys.executable, "-m", "docs.generator.release", "9.9"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode
    assert "has no 9.9" in done.stderr


def test_what_was_computed_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    calls = []
    for _ in range(2):
        assert kept.kept("kind", "key", lambda: calls.append(1) or {"x": 1}) == {"x": 1}
    assert calls == [1]
    assert kept.kept("kind", "other", lambda: 2) == 2
    monkeypatch.setattr(kept, "sources", lambda: "another library")
    assert kept.kept("kind", "key", lambda: 3) == 3
