"""The wheel and the sdist are built and work where nothing but jax is; every file that says the version says one."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import jinja2
import pytest
import yaml

import gradx
from docs.generator import badges

ROOT = Path(gradx.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SMOKE = """
import sys
import jax, jax.numpy as jnp
import gradx, gradx.compat.optax
assert "site-packages" in gradx.__file__, gradx.__file__
tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 0.1, 5, 50)))
params = {"w": jnp.ones(3)}
state = tx.init(params)
for _ in range(50):
    updates, state = jax.jit(tx.update)(params, state, params)
    params = gradx.apply_updates(params, updates)
assert float(jnp.abs(params["w"]).max()) < 0.5
assert not {"optax", "flax", "matplotlib", "benchmarks"} & set(sys.modules)
print(gradx.__version__)
"""


def test_one_version_everywhere():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert f"\nversion: {gradx.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(gradx.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert 'load_file="../gradx/__init__.py"' in (ROOT / "conda/meta.yaml").read_text()


def recipe():
    """What conda-build reads: the recipe with its two functions and its variable filled in."""
    folder = ROOT / "conda"

    def load_file_regex(load_file, regex_pattern, from_recipe_dir):
        assert from_recipe_dir
        return re.search(regex_pattern, (folder / load_file).read_text())

    text = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string((folder / "meta.yaml").read_text())
    return yaml.safe_load(text.render(load_file_regex=load_file_regex, PYTHON=sys.executable))


def test_the_recipe_of_conda_is_that_of_the_package():
    found = recipe()
    assert (found["package"]["name"], str(found["package"]["version"])) == ("gradx", gradx.__version__)
    wanted = [f"python {PROJECT['project']['requires-python']}", *PROJECT["project"]["dependencies"]]
    assert [x.replace(" ", "") for x in found["requirements"]["run"]] == [x.replace(" ", "") for x in wanted]
    assert (ROOT / "conda" / found["source"]["path"] / "pyproject.toml").exists()
    assert (ROOT / found["about"]["license_file"]).exists()


def test_what_the_recipe_of_conda_tests_holds():
    wanted = recipe()["test"]
    for command in [*(f'python -c "import {name}"' for name in wanted["imports"]), *wanted["commands"]]:
        program, *arguments = shlex.split(command)
        assert program == "python"
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)


def test_badges_are_true():
    said = badges.badges()
    assert said == {"version": gradx.__version__, "python": "≥ 3.11", "jax": "≥ 0.10.2", "licence": "MIT"}
    readme = (ROOT / "README.md").read_text()
    for name, value in said.items():
        assert (badges.FOLDER / f"{name}.svg").read_text() == badges.svg(name, value)  # python -m docs.generator.badges
        assert f"![{name} {value}](docs/assets/badges/{name}.svg)" in readme


def test_what_an_index_shows():
    project = PROJECT["project"]
    assert len(project["keywords"]) >= 5
    assert any(x.startswith("Development Status") for x in project["classifiers"])
    assert not any("License ::" in x for x in project["classifiers"])  # the expression says it
    least = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {least}" in project["classifiers"]
    assert "urls" not in project or all(url.startswith("https://") for url in project["urls"].values())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel that was made from the sdist beside it."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder.with_name("tree")  # of its own: another worker may build too
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "site", "build", "out", "*.egg-info", "results"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("packaging")
def test_the_archives_hold_the_package_and_nothing_else(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name == f"gradx-{gradx.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"gradx", f"gradx-{gradx.__version__}.dist-info"}
    files = [path for path in (ROOT / "gradx").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ours = {path.relative_to(ROOT).as_posix() for path in files}
    assert ours <= set(names)
    assert {"gradx/py.typed", "gradx/viz/explorer.html"} <= ours
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= inside
    assert not {name.split("/")[0] for name in inside} & {"tests", "docs", "benchmarks", "notebooks", "site"}


@pytest.mark.slow
@pytest.mark.xdist_group("packaging")
def test_the_wheel_works_in_an_empty_environment(built, tmp_path):
    """Nothing is fetched: what jax needs is lent to the environment, name by name, and nothing else is there."""
    folder = tmp_path / "empty"
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = built.glob("*.whl")
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--disable-pip-version-check",
        wheel,
    ]
    environment = {key: x for key, x in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")}
    subprocess.run(command, check=True, env=environment)
    (site,) = folder.rglob("site-packages")
    for distribution in needed("jax"):
        for file in {file.parts[0] for file in metadata.files(distribution) or [] if file.parts[0] != ".."}:
            place = Path(str(metadata.distribution(distribution).locate_file(file)))
            if not (site / file).exists():
                (site / file).symlink_to(place)
    done = subprocess.run(
        [python, "-c", SMOKE], capture_output=True, text=True, cwd=tmp_path, env=environment | {"JAX_PLATFORMS": "cpu"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == gradx.__version__


def needed(name: str, seen: frozenset = frozenset()) -> set[str]:
    """Return a distribution and all that it requires without extras."""
    found = {name}
    for requirement in metadata.requires(name) or []:
        other = re.match(r"[\w.-]+", requirement)
        if other and "extra ==" not in requirement and other[0] not in seen | found:
            found |= needed(other[0], seen | found)
    return found
