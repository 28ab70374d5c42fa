"""What `?`, help() and TAB show: signatures to read, every argument described, an example, and no module of ours."""

import ast
import builtins
import doctest
import importlib
import inspect
import pydoc
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import jax
import pytest

import gradx
from gradx import glossary, unknown
from gradx.arguments import Arguments
from gradx.typing import Decay, LearningRate

PACKAGES = ["assignment", "checkpoint", "diagnose", "linalg", "losses", "microbatching", "optimizers", "perturbations"]
PACKAGES += ["projections", "recipes", "roles", "schedules", "second_order", "sharding", "testing", "transforms"]
PACKAGES += ["tree", "tune", "viz", "wrappers"]
MODULES = ["gradx", *(f"gradx.{name}" for name in PACKAGES)]
ROOT = Path(gradx.__file__).parent


def functions():
    """Return every public function once, by the first name under which it is found."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            x = getattr(module, name)
            if inspect.isfunction(x) and x not in found.values():
                found[f"{module.__name__}.{name}"] = x
    return found


FUNCTIONS = functions()
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def described(docstring):
    return glossary._by_name(glossary._entries(docstring.partition("\nArgs:\n")[2])[0])


def examples(function):
    return doctest.DocTestParser().get_examples(function.__doc__)


def test_there_are_as_many_as_there_were():
    assert len(FUNCTIONS) >= 190


# Signatures


@each_function
def test_signatures_can_be_read(function):
    signature = str(inspect.signature(function))
    assert len(signature) <= 800, signature  # muon has 18 arguments, as in Optax, and three of its own
    for noise in ("typing.", "Annotated", "Union[", "jax.", "Range(", "'float", "<class"):
        assert noise not in signature, signature


HANDED_ON = ("gradx.tree.", "gradx.losses.", "gradx.microbatching.", "gradx.perturbations.", "gradx.diagnose.")
"""Whose functions return what they are given, or what the caller's function returns: Any is the truth."""


@each_function
def test_what_comes_back_is_named(function):
    if not function.__module__.startswith(HANDED_ON):
        assert inspect.signature(function).return_annotation is not typing.Any


def test_signatures_name_schedules_and_results():
    assert str(inspect.signature(gradx.adam)) == (
        "(learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-08,"
        " eps_root: float = 0.0, mu_dtype: DType | None = None, *, nesterov: bool = False) -> GradientTransformation"
    )
    assert str(inspect.signature(gradx.linear_schedule)) == (
        "(init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0) -> Schedule"
    )
    assert str(inspect.signature(gradx.masked)).startswith("(inner: GradientTransformation, mask: Mask)")
    assert str(inspect.signature(gradx.losses.l2_loss)) == (
        "(predictions: ArrayLike, targets: ArrayLike | None = None, *, where: ArrayLike | None = None) -> Array"
    )


def test_the_source_keeps_its_annotations():
    """Ranges are read from them, and static checkers see them."""
    hints = typing.get_type_hints(gradx.adam, include_extras=True)
    assert hints["b1"] == Decay
    assert hints["learning_rate"] == LearningRate
    assert Arguments.of(gradx.adam).marks["b1"].high == 1.0
    with pytest.raises(ValueError, match="b1 must be in"):
        gradx.adam(0.1, b1=1.5)


def test_decorated_twice_a_factory_still_knows_its_ranges():
    twice = gradx.transformation(gradx.adam)
    assert Arguments.of(twice).marks["b1"].high == 1.0
    assert str(inspect.signature(twice)) == str(inspect.signature(gradx.adam))


def test_factories_of_users_have_readable_signatures_too():
    @gradx.transformation
    def mine(rate: LearningRate, b1: "Decay" = 0.5, sizes: dict[str, typing.Literal["a"]] | None = None, odd=1.0):
        """Do something of mine."""
        return gradx.scale(b1)

    shown = "(rate: float | Schedule, b1: float = 0.5, sizes: dict[str, Literal['a']] | None = None, odd=1.0)"
    assert str(inspect.signature(mine)) == f"{shown} -> GradientTransformation"
    assert mine.__doc__ == "Do something of mine."  # our words need not be true of it


# Docstrings


@each_function
def test_every_argument_is_described(function):
    entries = described(function.__doc__)
    silent = [name for name in inspect.signature(function).parameters if name not in entries]
    assert silent == [], "write them, point at a function that has them, or add them to gradx/glossary.py"


@each_function
def test_nothing_else_is_described(function):
    unheard = set(described(function.__doc__)) - set(inspect.signature(function).parameters)
    assert unheard == set()


def test_the_glossary_is_not_written_twice():
    repeated = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (docstring := ast.get_docstring(node)):
                for name, entry in described(docstring).items():
                    repeated += [f"{path.name}: {name}"] * (entry == f"  {name}: {glossary.GLOSSARY.get(name)}")
    assert repeated == []


@each_function
def test_every_function_shows_an_example(function):
    assert examples(function)


@each_function
def test_examples_can_be_pasted(function):
    """They define or import every name that they use; tests/test_docs.py runs them."""
    tree = ast.parse("".join(example.source for example in examples(function)))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(vars(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
    assert {node.id for node in names} - known == set()


def test_own_words_win_then_those_pointed_at_then_the_glossary():
    text = "Do it.\n\nArgs:\n  b2: of my own,\n    in two lines.\n\nState: none.\n\n>>> 1\n1"
    done = glossary.completed(text, ("b1", "b2", "eps"), {"eps": "  eps: of another.", "b2": "  b2: not this."})
    assert done == (
        f"Do it.\n\nArgs:\n  b1: {glossary.GLOSSARY['b1']}\n  b2: of my own,\n    in two lines.\n  eps: of another."
        "\n\nState: none.\n\n>>> 1\n1"
    )
    assert glossary.completed(done, ("b1", "b2", "eps")) == done
    assert glossary.completed("Do it.", ("unheard_of",)) == "Do it."


@pytest.mark.parametrize("tail", ["State: none.", ">>> 1\n1", "Raises ValueError.", "Returns it."])
def test_arguments_stand_behind_what_the_function_does(tail):
    done = glossary.completed(f"Do it.\n\nMore.\n\n{tail}", ("b1",))
    assert done == f"Do it.\n\nMore.\n\nArgs:\n  b1: {glossary.GLOSSARY['b1']}\n\n{tail}"


def test_a_docstring_points_at_another():
    assert described(gradx.adamw.__doc__)["b1"] == "  b1, b2: decay of the means of g and |g|², in [0, 1)."
    assert "where nu starts" in described(gradx.rmsprop.__doc__)["initial_scale"]
    assert "any shape" in described(gradx.losses.log_cosh.__doc__)["predictions"]


# Names


@pytest.mark.parametrize("name", MODULES)
def test_packages_say_what_is_public(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [x for x in module.__all__ if not hasattr(module, x)] == []
    if name != "gradx":
        assert dir(module) == sorted(module.__all__)


def test_completion_shows_no_internal_module():
    shown = dir(gradx)
    assert shown == sorted(shown)
    modules = {name for name in shown if inspect.ismodule(getattr(gradx, name))}
    assert modules == set(PACKAGES)
    assert {"adam", "MultiSteps", "viz", "testing", "__version__"} <= set(shown)
    assert not {"core", "checks", "value", "typing", "glossary", "unknown", "document_all", "Any"} & set(shown)


def test_help_mentions_every_name():
    text = pydoc.plain(pydoc.render_doc(gradx))
    assert [name for name in gradx.__all__ if name not in text] == []
    assert "learning_rate: float | Schedule" in text


def test_names_are_where_one_looks_for_them():
    import optax

    peers = [name for name in dir(optax.schedules) if hasattr(gradx, name) and not name.startswith("_")]
    assert "cosine_decay_schedule" in peers
    assert "inject_hyperparams" in peers
    for name in set(peers) - {"Schedule"}:
        assert getattr(gradx.schedules, name) is getattr(gradx, name)
    assert str(gradx.optimizers.adam(0.1)) == "adam(learning_rate=0.1)"
    assert str(gradx.transforms.clip(1.0)) == "clip(max_delta=1.0)"
    assert gradx.wrappers.MultiSteps is gradx.MultiSteps
    assert inspect.ismodule(importlib.import_module("gradx.optimizers.adam"))
    with pytest.raises(AttributeError, match="no attribute 'cosin'"):
        _ = gradx.schedules.cosin


def test_one_version():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gradx.__version__"}


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_few_need_is_imported_when_asked_for():
    """Without matplotlib the names are still listed, and help goes on."""
    code = """
import sys, pydoc
sys.modules["matplotlib"] = None
import gradx
assert not {"gradx.viz", "gradx.testing", "gradx.unknown"} & set(sys.modules)
assert gradx.testing.check_transform and "viz" in dir(gradx) and not hasattr(gradx, "viz")
pydoc.render_doc(gradx)
for statement in ("gradx.viz", "from gradx import viz", "import gradx.viz"):
    try:
        exec(statement)
    except (AttributeError, ImportError) as error:
        assert "pip install '.[viz]'" in str(error), error
    else:
        raise AssertionError(statement)
from gradx import *
adam(0.1)
"""
    run(code)


# Unknown names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Adam", "did you mean gradx.adam?"),
        ("adamww", "did you mean gradx.adamw?"),
        ("safe_norm", "gradx.tree.norm"),
        ("trace", "gradx.momentum"),
        ("softmax_cross_entropy", "gradx.losses.softmax_cross_entropy"),
        ("use_ema", "gradx.average_params"),
        ("LossScaleOptimizer", "gradx.dynamic_loss_scale"),
        ("zzz", "dir(gradx)"),
    ],
)
def test_unknown_names_are_answered(name, words):
    with pytest.raises(AttributeError) as caught:
        getattr(gradx, name)
    assert str(caught.value).startswith(f"gradx has no {name!r}")
    assert words in str(caught.value)


def test_python_still_asks_for_its_own_names():
    assert not hasattr(gradx, "__wrapped__")
    with pytest.raises(AttributeError, match="module 'gradx' has no attribute"):
        _ = gradx._private


def test_every_factory_of_optax_is_there_or_said_to_be_elsewhere():
    import optax
    import optax.contrib

    wanted = {*optax.__all__, *(name for name in vars(optax.contrib) if not name.startswith("_"))}
    wanted = {name for name in wanted if name.islower() and callable(vars(optax).get(name))}
    known = set(dir(gradx)) | set(unknown.ELSEWHERE)
    known |= {name for package in unknown.PACKAGES for name in dir(getattr(gradx, package))}
    assert wanted - known == set()


def test_what_is_called_otherwise_is_there():
    for known in unknown.ELSEWHERE.values():
        if known.startswith("gradx."):
            x = gradx
            for part in known.partition(",")[0].split(".")[1:]:
                x = getattr(x, part)


def step(tx):
    return tx.update(2.0, tx.init(0.0), 0.0)[0]


def test_a_factory_of_optax_becomes_a_value():
    import optax

    assert float(jax.jit(step)(gradx.transformation(optax.lion)(0.5))) == -0.5


def test_a_factory_of_optax_becomes_a_value_without_jit():
    import optax

    assert float(step(gradx.transformation(optax.lion)(0.5))) == -0.5
