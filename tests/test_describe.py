"""`describe`: who gets what, for every kind of optimizer."""

import html.parser
import math

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import gradx
from gradx.core import Wrapper
from gradx.roles import Layout, Role
from tests.zoo import ZOO

PARAMS = {
    "embed": {"embedding": jnp.ones((9, 4))},
    "layer": {"up": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}, "down": {"kernel": jnp.ones((6, 4))}},
    "head": {"kernel": jnp.ones((4, 9))},
}
FALL = gradx.linear_schedule(1.0, 0.0, 10)


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)


def rows(tx, params=PARAMS, **more):
    return {row.path: row for row in gradx.describe(tx, params, **more).rows}


def size(tree):
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


class Cells(html.parser.HTMLParser):
    """The texts of a table's cells, and its tags in order."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.tags and self.cells:
            self.cells[-1] += data.strip("\n")


# Every transformation


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_every_row_of_the_zoo_is_described(row):
    found, real = gradx.describe(row.tx, shapes(PARAMS)), gradx.describe(row.tx, PARAMS)
    assert found == real  # abstract shapes are enough
    assert [x.path for x in found.rows] == gradx.tree.paths(PARAMS)
    assert found.state_bytes == size(jax.eval_shape(row.tx.init, PARAMS))
    text, cells = str(found), Cells(found._repr_html_()).cells
    for x in found.rows:
        assert x.path in text
        assert x.path in cells
        assert x.state_bytes >= 0
    is_frame = isinstance(row.tx.built, Wrapper) and row.tx.built.is_frame  # says nothing but its parts
    if row.trains and not is_frame:
        assert row.tx.name in found.rows[-1].transformation
    if "learning_rate" in row.tx.arguments and row.tx.arguments["learning_rate"] is not None:
        assert all(x.learning_rate for x in found.rows)


# Who gets what


def test_a_partition_says_who_gets_which_label():
    labels = gradx.roles.labels(PARAMS, matrix="muon", other="adam")
    tx = gradx.partition({"muon": gradx.muon(0.02, weight_decay=0.1), "adam": gradx.adam(FALL)}, labels)
    found = rows(gradx.chain(gradx.clip_by_global_norm(1.0), tx))
    up, table = found["layer/up/kernel"], found["embed/embedding"]
    assert up.transformation == "clip_by_global_norm → muon: muon"
    assert (up.learning_rate, up.weight_decay, up.state_bytes) == ((0.02,), (0.1,), 4 * 6 * 4)
    assert table.transformation == "clip_by_global_norm → adam: adam"
    assert (table.learning_rate, table.weight_decay, table.state_bytes) == ((FALL,), (), 2 * 9 * 4 * 4)


def test_a_mask_leaves_weight_decay_out():
    found = rows(gradx.adamw(1e-3, weight_decay=0.1, mask=gradx.roles.is_matrix))
    assert found["layer/up/kernel"].weight_decay == (0.1,)
    assert found["layer/up/bias"].weight_decay == found["head/kernel"].weight_decay == ()
    assert {row.transformation for row in found.values()} == {"adamw"}


def test_a_recipe_names_the_part_inside_it():
    found = rows(gradx.muon(0.02, adam_learning_rate=1e-3))
    assert found["layer/up/kernel"].transformation == "muon (muon)"
    assert found["layer/up/bias"].transformation == "muon (adam)"
    assert found["layer/up/bias"].learning_rate == (1e-3,)


def test_what_a_mask_leaves_out_passes_unchanged():
    found = gradx.describe(gradx.masked(gradx.sgd(0.1), gradx.roles.is_matrix), PARAMS)
    assert {row.path: row.transformation for row in found.rows}["layer/up/bias"] == ""
    assert "(unchanged)" in str(found)


def test_frozen_parameters_have_no_rate_and_no_state():
    mask = {"embed": True, "layer": False, "head": False}
    found = rows(gradx.selective_transform(gradx.adam(0.1), freeze_mask=mask))
    frozen = found["embed/embedding"]
    assert frozen.transformation == "selective_transform (freeze)"
    assert (frozen.learning_rate, frozen.state_bytes) == ((), 0)
    assert found["head/kernel"].learning_rate == (0.1,)


@pytest.mark.parametrize(
    ("tx", "expected"),
    [
        (gradx.sgd(0.1), "sgd"),
        (gradx.chain(gradx.clip(1.0), gradx.sgd(0.1)), "clip → sgd"),
        (gradx.named_chain(("cut", gradx.clip(1.0)), ("step", gradx.sgd(0.1))), "cut: clip → step: sgd"),
        (gradx.MultiSteps(gradx.chain(gradx.clip(1.0), gradx.sgd(0.1)), 2), "MultiSteps(clip → sgd)"),
        (gradx.inject_hyperparams(gradx.sgd)(0.1), "sgd"),
        (gradx.flatten(gradx.masked(gradx.adam(0.1), True)), "flatten(adam)"),
        (gradx.galore(0.1), "galore"),
        (gradx.monitor({"norm": gradx.tree.norm}), "monitor"),
        (gradx.freeze(False), ""),
        (gradx.chain(), ""),
        (optax.sgd(0.1), "optax.chain"),
        (gradx.chain(gradx.clip(1.0), optax.sgd(0.1)), "clip → optax.chain"),
        (optax.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s)), "tests.<lambda>"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_transformations_are_named_as_they_are_called(tx, expected):
    found = rows(tx)["layer/up/kernel"].transformation
    assert found == expected or expected.startswith("tests.")


def test_the_state_of_flattened_parameters_belongs_to_all():
    found = gradx.describe(gradx.flatten(gradx.adam(0.1)), PARAMS)
    assert found.shared_bytes == found.state_bytes == 4 + 2 * 4 * 126
    assert "of them shared" in str(found)


def test_numbers_in_arrays_and_injected_ones_are_shown():
    assert rows(gradx.inject_hyperparams(gradx.sgd)(0.3))["head/kernel"].learning_rate == (0.3,)
    assert "0.25" in str(gradx.describe(gradx.sgd(jnp.float32(0.25)), PARAMS))
    several = jax.tree.map(lambda *x: jnp.stack(x), gradx.sgd(0.5), gradx.sgd(0.25))
    assert "[0.5  0.25]" in str(gradx.describe(several, PARAMS))


def test_traced_numbers_are_said_to_be_traced():
    texts = []

    @jax.jit
    def step(rate):
        texts.append(str(gradx.describe(gradx.sgd(rate), PARAMS)))
        return rate

    step(0.1)
    assert "traced" in texts[0]


def test_a_schedule_stands_by_name_and_in_full_below():
    text = str(gradx.describe(gradx.sgd(FALL), PARAMS))
    assert "linear_schedule: linear_schedule(init_value=1.0, end_value=0.0, transition_steps=10)" in text
    assert text.count("transition_steps") == 1


# Roles


def test_a_role_that_cannot_be_told_is_no_error():
    found = gradx.describe(gradx.sgd(0.1), {"mystery": jnp.ones((2, 3, 4))})
    assert found.rows[0].role is None
    assert " ? " in str(found)
    assert "gradx.roles.infer(params) says why" in str(found)


def test_roles_may_be_given():
    roles = gradx.roles.infer(PARAMS, {"layer/up/kernel": "head"})
    assert rows(gradx.sgd(0.1), roles=roles)["layer/up/kernel"].role == Role("head", Layout((0,), (1,)))
    with pytest.raises(ValueError, match="describe: roles: no prefix"):
        gradx.describe(gradx.sgd(0.1), PARAMS, {"other": Role("bias")})


# How it shows


def test_the_table():
    params = {
        "embed": {"embedding": jnp.ones((9, 4))},
        "up": {"kernel": jnp.ones((3, 4, 18)), "bias": jnp.ones((3, 18))},
    }
    roles = gradx.roles.infer(params, {"up/kernel": Layout((1,), (2,), splits=3)})
    text = """\
path             shape   role       layout            transformation  learning rate  weight decay  state bytes
embed/embedding  9×4     embedding  in, out           adamw                   0.001           0.1          288
up/bias          3×18    bias                         adamw                   0.001             -          432
up/kernel        3×4×18  matrix     batch, in, out/3  adamw                   0.001           0.1        1,728

3 arrays, 306 parameters, 1,224 bytes; state 2,452 bytes, 8.01 per parameter, 4 of them shared"""
    mask = {"embed": True, "up": {"kernel": True, "bias": False}}
    found = gradx.describe(gradx.adamw(1e-3, weight_decay=0.1, mask=mask), params, roles)
    assert repr(found) == str(found) == text


def test_html_has_the_same_cells_and_escapes_names():
    found = gradx.describe(gradx.adam(1e-3), {"<i>": jnp.ones(2), "a&b": jnp.ones((2, 3))})
    source = found._repr_html_()
    seen = Cells(source)
    assert "<i>" not in source
    assert "&lt;i&gt;" in source
    assert seen.cells[8:11] == ["<i>", "2", "vector"]
    assert seen.tags.count("tr") == 1 + 2 + 1
    assert seen.cells[-1].startswith("2 arrays, 8 parameters")
    assert source.count("<td") == source.count("</td>")


def test_a_notebook_shows_html_and_a_terminal_text():
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(gradx.describe(gradx.sgd(0.1), PARAMS))
    assert data["text/html"].startswith("<table>")
    assert data["text/plain"].startswith("path")


def test_boxes_scalars_and_nothing_at_all():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    boxed = gradx.describe(gradx.adam(0.1), nnx.state(model, nnx.Param))
    assert boxed == gradx.describe(gradx.adam(0.1), nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    assert [row.path for row in boxed.rows] == ["bias", "kernel"]
    assert "scalar" in str(gradx.describe(gradx.adam(0.1), {"temperature": 1.0}))
    assert "0 arrays" in str(gradx.describe(gradx.adam(0.1), {}))
    assert gradx.describe(gradx.adam(0.1), jnp.ones((2, 3))).rows[0].path == ""


def test_what_sets_the_step_of_matrices_says_their_rate():
    """Hyperball takes of the optimizer inside the direction alone, for matrices."""
    params = {"up": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    tx = gradx.hyperball(gradx.adam(1e-3), gradx.linear_schedule(0.1, 0.0, 10), gradx.roles.infer)
    bias, kernel = gradx.describe(tx, params).rows
    assert bias.learning_rate == (1e-3,)
    assert kernel.learning_rate == (tx.arguments["learning_rate"],)
    assert [row.learning_rate for row in gradx.describe(gradx.lookahead(gradx.adam(1e-3), 2, 0.5), params).rows] == [
        (1e-3,),
        (1e-3,),
    ]
