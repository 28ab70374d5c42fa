"""The public names: each has one home, a docstring, and, if it is a transformation, a row in the zoo."""

import inspect

import pytest

import gradx
from gradx.scheduled import ScheduleValue
from tests.zoo import ZOO

PACKAGES = {"losses", "tree", "schedules", "linalg", "projections", "assignment", "perturbations", "microbatching"}


def public(module):
    return {name: getattr(module, name) for name in module.__all__ if not inspect.ismodule(getattr(module, name))}


def returns(name):
    return getattr(inspect.signature(getattr(gradx, name)), "return_annotation", None)


def factories():
    """Return the public functions that make transformations: those built by the decorator."""
    assert all(isinstance(row.tx, gradx.GradientTransformation) for row in ZOO)
    wrapped = {name: x for name, x in public(gradx).items() if inspect.isfunction(x) and hasattr(x, "__wrapped__")}
    return {name for name, x in wrapped.items() if not x.__module__.startswith("gradx.schedules")}


def inside(tx):
    """Return the names of a value and of all values that it is made of."""
    names = {tx.name}
    parts = [tx.built] if tx.is_recipe else []
    for part in parts + [x for x in gradx_leaves(tx.arguments) if isinstance(x, gradx.GradientTransformation)]:
        names |= inside(part)
    return names


def gradx_leaves(arguments):
    import jax

    return jax.tree.leaves(arguments, is_leaf=lambda x: isinstance(x, gradx.GradientTransformation))


def test_every_transformation_has_a_row_in_the_zoo():
    shown = set().union(*(inside(row.tx) for row in ZOO))
    assert factories() - shown == set()


def test_rows_differ():
    assert len({row.tx for row in ZOO}) == len(ZOO)


@pytest.mark.parametrize("name", sorted(public(gradx)))
def test_names_are_documented(name):
    x = getattr(gradx, name)
    if inspect.isfunction(x) or inspect.isclass(x):
        assert inspect.getdoc(x), f"gradx.{name} has no docstring"
        lines = len(inspect.getdoc(x).splitlines())
        assert lines <= 30, f"the docstring of gradx.{name} has {lines} lines"


@pytest.mark.parametrize("name", sorted(public(gradx)))
def test_names_have_one_home(name):
    x = getattr(gradx, name)
    others = [other for other, y in public(gradx).items() if y is x and other != name and callable(x)]
    aliases = {"Params", "Updates", "State"}  # all trees
    assert not [other for other in others if {name, other} - aliases]


def test_optax_names_are_there():
    """The classics keep Optax's names, argument order and defaults; what departs is listed with the reason."""
    import optax

    departs = {
        "adadelta": "learning_rate=1.0: None ascends; weight_decay=None: 0.0 costs what it does not do",
        "scale_by_learning_rate": "learning_rate is required",
        "lbfgs": "another line search, which takes fewer evaluations",
        "nadam": "no nesterov argument: it would make nadam adam",
        "nadamw": "no nesterov argument: it would make nadamw adamw",
        "adafactor": "dtype_momentum=None is at least float32",
        "scale_by_factored_rms": "decay_rate_fn=None is Optax's private default",
        "MultiSteps": "a function; accumulator_dtype None means at least float32",
        "scale_by_distance_over_gradients": "param_dtype None means at least float32",
        "masked": "no mask_compatible_extra_args",
        "partition": "no mask_compatible_extra_args",
        "chain": "the parts are called parts",
        "named_chain": "the parts are called parts",
    }
    for name in sorted(public(gradx)):
        peer = vars(optax).get(name)  # without the names that warn
        if name in departs or not inspect.isfunction(peer) or not inspect.isfunction(getattr(gradx, name)):
            continue
        ours = {k: p.default for k, p in inspect.signature(getattr(gradx, name)).parameters.items()}
        theirs = {k: p.default for k, p in inspect.signature(peer).parameters.items()}
        assert list(ours) == list(theirs), name
        assert {k: v for k, v in ours.items() if v != theirs[k]} == {}, name


def test_public_schedules_are_values():
    assert isinstance(gradx.cosine_decay_schedule(1.0, 10), ScheduleValue)


def test_released_names_stay():
    """A name leaves, or moves, only together with this list; new ones join it at a release."""
    from tests.api_snapshot import NAMES

    assert set(NAMES) - set(public(gradx)) == set()
