"""What a notebook shows of a transformation: parts, formulas, numbers, schedules and bytes, in HTML that closes."""

import html.parser

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.description import cards, sparklines
from gradx.description.formulas import rule
from tests.zoo import ZOO

VOID = {"br", "polyline"}
ADAM = "(mu / c1) / (sqrt(nu / c2 + eps_root) + eps)"
WARMUP = gradx.warmup_cosine_decay_schedule(0.0, 1e-3, 50, 500)


class Outline(html.parser.HTMLParser):
    """The text of the list, by depth, and what is said by title and `aria-label`; tags must close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.items, self.labels, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "li":
            self.items.append((self.open.count("li") - 1, ""))
        self.labels += [value for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "li" in self.open and "title" not in self.open:
            depth, text = self.items[-1]
            self.items[-1] = (depth, text + data.strip("\n"))


def items(tx):
    return Outline(tx._repr_html_()).items


def test_a_chain_is_a_nested_list_with_formulas_numbers_and_bytes():
    tx = gradx.chain(gradx.clip_by_global_norm(0.5), gradx.adamw(WARMUP, weight_decay=0.1, mask=gradx.roles.is_matrix))
    found = items(tx)
    assert [(depth, text.split(" ")[0]) for depth, text in found] == [
        (0, "chain"),
        (1, "clip_by_global_norm"),
        (1, "adamw"),
        (2, "scale_by_adam"),
        (2, "add_decayed_weights"),
        (2, "scale_by_learning_rate"),
    ]
    clip, adamw = found[1][1], found[2][1]
    assert clip == "clip_by_global_norm 0 bytesu ← u · min(1, max_norm / ‖u‖)max_norm 0.5"
    assert "adamw 8 bytesu = −learning_rate · (Adam's direction + weight_decay · p)" in adamw
    for words in (f"learning_rate {WARMUP!r}", "weight_decay 0.1", "mask is_matrix", "b2 0.999"):
        assert words in adamw
    assert Outline(tx._repr_html_()).labels[0] == "0 at step 0, 0.001 at most, 0 at step 560"
    assert repr(tx) in Outline(tx._repr_html_()).text


def test_what_was_given_stands_before_the_defaults_which_are_fainter():
    page = gradx.adam(0.1, b2=0.95)._repr_html_()
    assert page.index("b2</code> 0.95") < page.index(f'<span style="{cards.FAINT}"><code>b1</code> 0.9')


def test_labels_and_wrappers_are_shown():
    tx = gradx.named_chain(("cut", gradx.clip(1.0)), ("step", gradx.MultiSteps(gradx.sgd(0.1), 4)))
    found = [(depth, text.partition(" bytes")[0]) for depth, text in items(tx)]
    assert found[:4] == [(0, "named_chain 4"), (1, "cut: clip 0"), (1, "step: MultiSteps 4"), (2, "sgd 0")]


def test_text_is_escaped():
    page = gradx.stateless(lambda updates, params: updates)._repr_html_()
    assert "&lt;lambda&gt;" in page
    assert "<lambda>" not in page


@pytest.mark.parametrize(
    "tx",
    [
        gradx.chain(),
        gradx.chain(gradx.clip(1.0), optax.sgd(0.1)),
        gradx.GradientTransformation(lambda p: (), lambda u, s, p=None: (u, s)),
        gradx.masked(gradx.sgd(0.1), {"of": {"another": True}}),
        gradx.adam(lambda step: 0.1 if step < 10 else 0.01),
        gradx.adam(lambda step: 1 / 0),
        gradx.tune.stack(gradx.adam(0.1), {"learning_rate": [0.1, 0.2]}),
    ],
    ids=["empty", "foreign", "bare", "mask", "python", "broken", "stacked"],
)
def test_nothing_keeps_it_from_being_shown(tx):
    assert items(tx)[0][1].startswith(tx.name)


def test_a_trace_shows_it_too():
    jax.jit(lambda rate: gradx.sgd(rate)._repr_html_() and rate)(0.1)


def test_bytes_are_those_of_the_state():
    rates = {"sgd": gradx.sgd(0.1), "adam": gradx.adam(0.1), "muon": gradx.muon(0.1), "lion": gradx.lion(0.1)}
    found = {name: cards.bytes_per_parameter(tx) for name, tx in rates.items()}
    assert found == {"sgd": 0.0, "adam": 8.0, "muon": 4.0, "lion": 4.0}
    assert cards.bytes_per_parameter(gradx.adam(0.1, mu_dtype=jnp.bfloat16)) == 6.0
    assert 0 < cards.bytes_per_parameter(gradx.adafactor(0.1)) < 0.1
    assert cards.bytes_per_parameter(gradx.flatten(gradx.adam(0.1))) == 8.0
    assert cards.bytes_per_parameter(gradx.masked(gradx.sgd(0.1), {"no": True})) is None


# Formulas


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (gradx.scale_by_rms, "nu ← decay · nu + (1 - decay) · |g|²;  u = g / sqrt(nu + eps)"),
        (gradx.add_decayed_weights, "u ← u + weight_decay · p"),
        (gradx.adam, f"u = -learning_rate · {ADAM};  c1 = 1 - b1^t;  c2 = 1 - b2^t"),
        (gradx.lion, "u = -learning_rate · (sign(b1 · mu + (1 - b1) · g) + weight_decay · p)"),
        (gradx.optimizers.rprop, "u = -step · sign(g)"),
        (gradx.add_cautious_decayed_weights, "u ← u + weight_decay · p where u · p ≥ 0"),
        (gradx.scale_by_polargrad, "mu ← beta · mu + (1 - beta) · g"),
        (gradx.clip, ""),
    ],
)
def test_formulas_are_those_of_the_docstring(factory, expected):
    assert rule(factory)[1] == expected


def test_of_two_equations_for_a_name_the_first_counts():
    def factory():
        """Do.

        mu ← b · mu + g, u = g / mu; in a special case u = g, until mu ← 0.
        """

    assert rule(factory) == ("", "mu ← b · mu + g;  u = g / mu")


def whole(equation):
    products = equation.replace(" < ", " ")
    pairs = all(products.count(a) == products.count(b) for a, b in ("()", "[]", "<>"))
    norms = equation.count("|") % 2 == equation.count("‖") % 2 == 0
    return len(equation) < 130 and pairs and norms and equation[-1] not in "·/+-=←"


def test_every_formula_is_whole():
    rules = {row.tx.name: rule(row.tx.factory) for row in ZOO}
    broken = [x for _, equations in rules.values() for x in equations.split(";  ") if x and not whole(x)]
    assert broken == []
    assert {name for name, said in rules.items() if not any(said)} <= {"GradientTransformation"}


def test_each_optimizer_says_what_it_does_in_equations():
    made = [name for name in gradx.optimizers.__all__ if name.islower() and name != "adam_mini_blocks"]
    assert {name for name in made if not rule(getattr(gradx, name))[1]} <= {
        "nadamw",
        "sm3",
        "stable_adamw",
        "apollo_mini",
        "orthogonal_matrices",
        "scale_by_soap_muon",
        "scale_by_kl_soap",
        "hutchinson_estimator_diag_hessian",
    }


# Sparklines


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (WARMUP, 560),
        (gradx.linear_schedule(1.0, 0.0, 100), 110),
        (gradx.constant_schedule(0.1), 100),
        (gradx.exponential_decay(1.0, 100, 0.9), 400),
        (gradx.piecewise_constant_schedule(1.0, {1000: 0.1, 3000: 0.1}), 3300),
        (gradx.linear_schedule(1.0, 0.0, 100) / 2, 110),
        (gradx.join_schedules([gradx.constant_schedule(1.0), gradx.linear_schedule(1.0, 0.0, 50)], [50]), 110),
    ],
    ids=str,
)
def test_a_schedule_is_shown_until_it_settles(schedule, last):
    assert sparklines.horizon(schedule) == last


def test_a_sparkline_is_the_curve():
    drawn = sparklines.sparkline(gradx.linear_schedule(2.0, 0.0, 100))
    points = drawn.partition('points="')[2].partition('"')[0].split()
    x, y = np.array([point.split(",") for point in points], float).T
    inner = sparklines.WIDTH - 2 * sparklines.MARGIN
    assert (x[0], y[0]) == (sparklines.MARGIN, sparklines.MARGIN)
    assert x[-1] == sparklines.MARGIN + inner
    assert y[-1] == sparklines.HEIGHT - sparklines.MARGIN
    np.testing.assert_allclose(np.interp(2 + inner * 50 / 110, x, y), sparklines.HEIGHT / 2, atol=0.3)
    assert "currentColor" in drawn  # the dark reads it too


def test_ordinary_python_is_called_step_by_step():
    values = sparklines.sampled(lambda step: 0.5 if step < 10 else 0.25, np.array([0, 9, 10]))
    assert values.tolist() == [0.5, 0.5, 0.25]


def test_a_line_of_what_is_no_number_is_left_out():
    assert sparklines.sparkline(lambda step: step * jnp.nan) == ""
    assert sparklines.sparkline(gradx.linear_schedule(jnp.ones(2), 0.0, 10)) == ""
