"""Imports run one way; files stay short; `gradx` itself imports only jax and numpy."""

import ast
from pathlib import Path

import pytest

import gradx

ROOT = Path(gradx.__file__).parent
LAYERS = [
    {"typing"},
    {"glossary", "unknown", "display"},
    {"checks", "numerics", "labels", "arguments", "eager", "value", "scheduled", "sometimes", "evaluation", "traced"},
    {"tree"},
    {"running"},
    {"boundary"},
    {"core"},
    {"combine"},
    {"matrices"},
    {"roles"},
    {"transforms"},
    {"optimizers", "wrappers"},
    {"hyperparams", "testing"},
    {"checkpoint", "description", "diagnose", "minimization", "recipes", "sharding", "tune"},
    {"viz"},
]
PLAIN = {"schedules", "losses", "linalg", "projections", "assignment", "perturbations", "microbatching", "second_order"}
"""Beside the tower: these import only its lowest modules, and only its two highest layers import them; but transforms
and optimizers import linalg."""
LOWEST = {"typing", "glossary", "checks", "numerics", "value", "scheduled", "tree"}
ALLOWED_OUTSIDE = {"jax", "jaxlib", "numpy"}
EXTRAS = {"viz": {"matplotlib"}, "checkpoint": {"orbax"}}
"""What optional modules import beside it; `import gradx` imports none of them."""
LONGEST_FILE = 400


def files():
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def module_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source):
    """Return the modules that a file imports: `from gradx import tree` is `gradx.tree`."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"gradx.{alias.name}" for alias in node.names] if node.module == "gradx" else [node.module]
    return names


def faults(path, source):
    """Return what is wrong with the imports of a file of gradx."""
    module = module_of(path)
    rank = next((i for i, layer in enumerate(LAYERS) if module in layer), None)
    found = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if top != "gradx":
            import_is_standard = top in __import__("sys").stdlib_module_names
            found += (
                []
                if import_is_standard or top in ALLOWED_OUTSIDE | EXTRAS.get(module, set())
                else [f"{path.name} imports {name}"]
            )
        elif module == "compat":
            continue  # it stands on top of everything
        elif module in PLAIN:
            found += [] if target in LOWEST | {module} else [f"{module} imports {target}"]
        elif rank is None:
            found.append(f"{module} has no place in the layers")
        else:
            below = set().union(*LAYERS[:rank]) | {module} | (PLAIN if rank >= len(LAYERS) - 2 else set())
            below |= {"linalg"} if module in ("matrices", "transforms", "optimizers", "wrappers") else set()
            beside = LAYERS[rank] if "value" in LAYERS[rank] else set()  # checks, numerics and arguments serve value
            found += [] if target in below | beside else [f"{module} imports {target}"]
        elsewhere = rest != "optimizers.adam"  # which is a building block of others
        if module == "optimizers" and target == "optimizers" and path.name != "__init__.py" and elsewhere:
            found.append(f"{path.name} imports another optimizer's file: {name}")
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    assert faults(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("place", "planted"),
    [
        ("tree.py", "from gradx import core"),
        ("core.py", "from gradx.combine import chain"),
        ("optimizers/sgd.py", "from gradx.optimizers.rmsprop import rmsprop"),
        ("wrappers/inject.py", "import gradx.optimizers.adam"),
        ("losses/regression.py", "from gradx.core import transformation"),
        ("core.py", "import flax"),
        ("tune/sweep.py", "import matplotlib"),
        ("tune/sweep.py", "from gradx.viz import plots"),
        ("viz/style.py", "import flax"),
        ("checkpoint/torch_states.py", "import torch"),
    ],
)
def test_a_planted_upward_import_is_found(place, planted):
    assert faults(ROOT / place, planted), f"{planted!r} in {place} went unnoticed"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def test_update_functions_stay_short():
    too_long = [
        f"{path.name}:{node.lineno}"
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "update" and node.end_lineno - node.lineno > 40
        if node.args.args and node.args.args[0].arg != "self"
    ]
    assert too_long == []


def test_importing_gradx_imports_no_extra_and_starts_no_backend():
    import subprocess
    import sys

    code = (
        "import sys, gradx\n"
        "gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100))\n"
        "extras = {'flax', 'optax', 'orbax', 'matplotlib', 'torch', 'rich', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized(), 'a backend was started'\n"
        "print(sorted(extras - {'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"
