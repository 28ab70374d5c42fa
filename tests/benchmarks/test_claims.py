"""The course, claim by claim: the rule both ways, what is kept is what is shown, and every claim can be measured."""

import dataclasses
import json
import math
import pkgutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from benchmarks import claims, course, pictures, verdict
from benchmarks.course import adam, batches, decay, momentum, schedules, tasks, training
from benchmarks.course.claim import FAILS, HOLDS, Claim, Contrast, Group, Panel, Setup, claim
from benchmarks.course.page import MARKS, UNTOLD as GREY, page, picture
from benchmarks.course.training import Problem, steps_to, train
from benchmarks.tasks.tabular import CLASSES, FEATURES, Rows

LOW, HIGH, MIXED = [1.0, 1.2, 1.4], [2.0, 2.2, 2.4], [3.0, 0.9, 2.6]
UNTOLD, CEILING = "not told apart", "ceiling reached"
ONE = Setup((0, 1), 0.004)
WHOLE = Setup(tuple(range(claims.SEEDS)))
QUICK = {
    "noise_of_gradients",
    "memory",
    "noise_leaves_poor_minima",
    "damps_at_the_same_effective_rate",
    "damps_at_the_same_rate",
    "edge",
    "exploding",
}
"""Claims whose programs compile in a second or two, and are run in full; the rows of the table are read."""
COUNTED = "memory"
"""Bytes are the compiler's, and another one counts others."""


@pytest.fixture(autouse=True)
def optimized_programs():
    """Take the place of the folder's: here every program runs a few steps, and compiling it is what takes time."""


def judged(*pairs, **how):
    """The verdict of a claim whose first of each pair is favoured."""
    contrasts = [Contrast("loss", "mine", mine, "theirs", theirs, **how) for mine, theirs in pairs]
    return Claim("name", "said", "source", "here", contrasts).verdict


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(LOW, HIGH)], HOLDS),
        ([(HIGH, LOW)], FAILS),
        ([(LOW, MIXED)], UNTOLD),
        ([(LOW, LOW)], UNTOLD),
        ([(LOW, HIGH), (LOW, MIXED)], UNTOLD),  # better in every comparison, or it does not hold
        ([(LOW, HIGH), (HIGH, LOW)], FAILS),  # worse in one is enough
        ([(LOW, [math.nan] * 3)], HOLDS),  # diverged is worse than any
        ([([math.inf] * 3, LOW)], FAILS),
        ([(LOW, [math.nan, 2.0, 2.0])], UNTOLD),  # no interval
        ([([1.0], [2.0])], "one seed"),
        ([(LOW, HIGH), ([1.0], [2.0])], "one seed"),
    ],
)
def test_the_rule_is_the_same_both_ways(pairs, expected):
    assert judged(*pairs) == expected
    turned = [([-x for x in mine], [-x for x in theirs]) for mine, theirs in pairs]
    assert judged(*turned, higher_is_better=True) == expected
    if len(pairs) == 1:
        opposite = {HOLDS: FAILS, FAILS: HOLDS}
        assert judged(*[(theirs, mine) for mine, theirs in pairs]) == opposite.get(expected, expected)


@pytest.mark.parametrize(("margin", "expected"), [(0.5, HOLDS), (1.5, UNTOLD)])
def test_a_difference_must_be_larger_than_a_value_is_known(margin, expected):
    assert judged((LOW, HIGH), margin=margin) == expected
    assert judged((HIGH, LOW), margin=margin) == {HOLDS: FAILS}.get(expected, expected)


@pytest.mark.parametrize(("examples", "expected"), [(1000, HOLDS), (10, UNTOLD), (0, HOLDS)])
def test_an_accuracy_is_worth_no_more_than_its_test_set(examples, expected):
    pair = [0.95, 0.95, 0.95], [0.90, 0.90, 0.90]
    assert judged(pair, higher_is_better=True, examples=examples) == expected


def test_a_ceiling_is_no_victory_and_hides_no_defeat():
    full, less = [1.0, 1.0], [0.9, 0.9]
    how = {"higher_is_better": True, "ceiling": 1.0}
    assert judged((full, full), **how) == CEILING
    assert judged((full, full), (full, less), **how) == CEILING
    assert judged((full, [1.0, 0.9]), **how) == UNTOLD  # not with every seed
    assert judged((full, less), **how) == HOLDS
    assert judged((full, full), (less, full), **how) == FAILS


def test_the_rows_of_the_table_have_the_verdict_of_the_races():
    for function in tasks.CLAIMS:
        found, _ = function(ONE)
        name, task, choices, *_ = {x[0]: x for x in tasks.ROWS}[found.name]
        race = tasks.among(tasks.read(task, choices), tasks.COURSE)
        answer = verdict.judge(race).answer
        assert found.verdict == {"yes": HOLDS, "no": FAILS}.get(answer, answer), name
        whole = verdict.judge(tasks.read(task, choices))
        assert bool(found.remark) == (len(whole.comparisons) > len(found.contrasts))
        assert not found.remark or whole.deciding[0].other in found.remark
        assert ("it is not the best" in found.remark) == (bool(found.remark) and whole.answer == "no")


KEPT = claims.read(claims.OUT / claims.KEPT)


def test_every_group_is_kept_with_five_seeds_and_a_picture():
    assert tuple(KEPT) == course.GROUPS
    modules = {name for _, name, _ in pkgutil.iter_modules(course.__path__)}
    assert {name for name in modules if hasattr(course.load(name), "CLAIMS")} == set(course.GROUPS)
    for name, group in KEPT.items():
        assert [x.name for x in group.claims] == [x.__name__ for x in course.load(name).CLAIMS]
        assert group.seeds == claims.SEEDS
        least = 3 if name == "tasks" else claims.SEEDS
        assert all(len(x) >= least for y in group.claims for z in y.contrasts for x in (z.mine, z.theirs))
        assert (claims.OUT / f"{name}.png").exists()


def test_the_page_is_that_of_the_kept_results():
    assert page(list(KEPT.values())) == (claims.OUT / claims.PAGE).read_text()


def test_what_is_kept_says_what_the_functions_say():
    """A claim whose words were changed is shown as it was measured until it is measured again."""
    for name, group in KEPT.items():
        for kept, function in zip(group.claims, course.load(name).CLAIMS, strict=True):
            assert name == "tasks" or kept.here == " ".join(function.__doc__.split()), "python -m benchmarks.claims"


def test_the_kept_rows_are_those_of_the_kept_races():
    found = [function(ONE)[0] for function in tasks.CLAIMS]
    mine = dataclasses.replace(KEPT["tasks"], claims=found).as_json()
    assert mine == KEPT["tasks"].as_json(), "python -m benchmarks.claims --only tasks"


def test_what_is_written_is_read():
    contrast = Contrast("loss", "mine", [1.23456789, math.inf], "theirs", [math.nan, 2.0], margin=0.5)
    panel = Panel("title", {"a": [0, 1, 2], "b": [5, 6]}, {"a": np.ones((2, 3)), "b": [[1, math.nan], [2, 3]]}, log="y")
    group = Group("name", "title", [Claim("n", "s", "b", "h", [contrast])], [panel], 2, 1.0, {"versions": {}})
    text = json.dumps(group.as_json(), allow_nan=False)
    again = Group.from_json(json.loads(text))
    assert json.dumps(again.as_json()) == text
    assert contrast.mine[0] == 1.2346
    assert math.isnan(contrast.mine[1])
    assert again.panels[0].x == {"a": [0, 1, 2], "b": [5, 6]}
    assert again.claims[0].verdict == group.claims[0].verdict == UNTOLD


def test_long_curves_are_thinned_and_keep_their_ends():
    panel = Panel("title", np.arange(1000), {"a": np.arange(1000)[None]})
    assert panel.x["a"] == panel.lines["a"][0]
    assert (panel.x["a"][0], panel.x["a"][-1], len(panel.x["a"])) == (0, 999, 48)


@pytest.mark.parametrize("name", ["rates", "tasks"])
def test_a_picture_is_drawn_from_what_is_kept(name, tmp_path):
    pictures.save(picture(KEPT[name]), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


EVERY = [
    pytest.param(group, function, marks=[] if function.__name__ in QUICK or group == "tasks" else pytest.mark.slow)
    for group in course.GROUPS
    for function in course.load(group).CLAIMS
]


@pytest.mark.parametrize(("group", "function"), EVERY, ids=lambda x: getattr(x, "__name__", x))
def test_a_claim_can_be_measured(group, function):
    """Those that are quick in full: they must find what is kept."""
    setup = WHOLE if function.__name__ in QUICK else ONE
    found, panels = function(setup)
    assert found.contrasts
    assert found.said
    assert found.source
    assert found.here
    assert found.name == function.__name__
    for contrast in found.contrasts:
        assert len(contrast.mine) == len(contrast.theirs)
        assert group == "tasks" or len(contrast.mine) == len(setup.seeds)
    for panel in panels:
        assert all(len(seeds) == len(setup.seeds) for seeds in panel.lines.values())
        assert all(len(panel.x[name]) == len(seeds[0]) for name, seeds in panel.lines.items())
    picture(Group(group, "title", [found], panels, 2, 0.0))
    if setup is WHOLE:
        (kept,) = [x for x in KEPT[group].claims if x.name == found.name]
        assert found.verdict == kept.verdict
        for mine, before in zip(found.contrasts, kept.contrasts, strict=True):
            assert (mine.favoured, mine.other) == (before.favoured, before.other)
            if found.name != COUNTED:
                np.testing.assert_allclose([mine.mine, mine.theirs], [before.mine, before.theirs], rtol=0.02)


def straight():
    """Descent of x from where the seed puts it, a third of which each step takes."""
    return Problem(lambda key: jax.random.uniform(key), lambda *_: 0.0, lambda x, _: x**2 / 2, lambda x: {"value": x})


def test_training_is_descent_with_every_value_and_the_tuning_seeds_are_not_shown():
    setup = Setup((0, 1, 2))
    found = train(setup, straight(), gradx.sgd(1.0), {"learning_rate": [1 / 3, 2.5]}, 8, looks=4, before=True)
    values = found.of("value", 0)
    assert values.shape == (3, 5)
    np.testing.assert_array_equal(found.steps, [0, 2, 4, 6, 8])
    np.testing.assert_allclose(values, values[:, :1] * (2 / 3) ** found.steps, rtol=1e-5)
    shown = [float(jax.random.uniform(jax.random.split(jax.random.key(seed))[0])) for seed in setup.seeds]
    np.testing.assert_allclose(values[:, 0], shown, rtol=1e-6)
    assert found.seen["value"].shape == (2, 5, 5)
    assert (found.best("value"), found.best("value", higher=True)) == (0, 1)  # away from 0, to either side, is 1.5 ** 8


def test_the_tuning_seeds_alone_choose():
    seen = {"loss": np.array([[[1.0], [9.0], [9.0]], [[5.0], [2.0], [2.0]], [[0.0], [np.nan], [0.0]]])}
    found = dataclasses.replace(
        train(Setup((0,)), straight(), gradx.sgd(1.0), {"learning_rate": [0.1]}, 2), seen=seen, tuning=2
    )
    assert found.best("loss") == 1
    np.testing.assert_array_equal(found.of("loss", 1), [[5.0]])
    np.testing.assert_array_equal(found.ends("loss"), [[1.0], [5.0], [0.0]])


def test_the_online_loss_is_the_mean_of_the_steps_since_the_look_before():
    found = train(Setup((0, 1)), straight(), gradx.sgd(1.0), {"learning_rate": [1 / 3]}, 8, looks=4)
    begun = found.of("value", 0) / (2 / 3) ** 2  # two steps before
    np.testing.assert_allclose(found.of("online", 0), (begun**2 + (begun * 2 / 3) ** 2) / 4, rtol=1e-5)
    assert Setup((0,), 0.25).steps(100) == 25


def test_what_is_trained_on_chosen_by_and_tested_are_rows_apart():
    parts = training.few_digits()
    assert [len(x.label) for x in parts] == [400, 400, 997]
    whole = np.concatenate([x.features for x in training.digits()])
    np.testing.assert_array_equal(np.concatenate([x.features for x in parts]), whole)
    drawn = training.batches(parts[0], 16)(jax.random.key(0), 0)
    assert drawn.features.shape == (16, FEATURES)
    assert all((np.asarray(x) == np.asarray(parts[0].features)).all(1).any() for x in drawn.features)
    assert training.batches(parts[0], 400)(jax.random.key(0), 0) is parts[0]


@pytest.mark.parametrize("residual", [False, True])
def test_networks_are_those_of_their_formulas(residual):
    params = training.mlp(5, depth=3)(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(8, FEATURES)).astype(np.float32)
    h = np.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    for kernel, bias in zip(params["hidden"]["kernel"], params["hidden"]["bias"], strict=True):
        h = np.tanh(h @ kernel + bias) + residual * h
    scores = h @ params["last"]["kernel"] + params["last"]["bias"]

    def found(params, x):
        return training.logits(params, x, jnp.tanh, residual=residual)

    np.testing.assert_allclose(found(params, x), scores, rtol=1e-4, atol=1e-5)
    label = np.asarray(scores).argmax(1)
    label[:2] = (label[:2] + 1) % CLASSES
    assert training.judged(found, test=Rows(x, label))(params)["test accuracy"] == 6 / 8


def test_schedules_are_what_the_claims_say():
    at = np.array([0, 5, 10, 49, 51, 74, 76, 100])
    cosine = (1 + np.cos(np.pi * at / 100)) / 2
    late = (1 + np.cos(np.pi * (at - 10) / 90)) / 2
    expected = {
        "constant": np.ones(8),
        "step": np.where(at < 50, 1.0, np.where(at < 75, 0.1, 0.01)),
        "cosine": cosine,
        "warmup": np.minimum(at / 10, 1),
        "warmup, cosine": np.where(at < 10, at / 10, late),
    }
    assert expected.keys() == schedules.SCHEDULES.keys()
    for name, make in schedules.SCHEDULES.items():
        np.testing.assert_allclose([float(make(1.0, 100)(n)) for n in at], expected[name], atol=1e-6, err_msg=name)


def test_what_is_compared_comes_from_the_curves_with_its_sign(monkeypatch):
    """By hand: what a claim makes of curves that were trained."""
    losses = {(8, "sgd"): 1.0, (8, "momentum"): 0.01, (1, "sgd"): 1.0, (1, "momentum"): 0.1}
    monkeypatch.setattr(momentum, "ends", lambda setup, depth, name: np.full(2, losses[depth, name]))
    (gain,) = momentum.helps_more_in_deeper_nets(ONE)[0].contrasts
    assert (gain.favoured, gain.mine, gain.theirs, gain.higher_is_better) == ("8 layers", [2, 2], [1, 1], True)

    curves = np.array([[1.0, 0.1], [0.1, 0.1]])
    monkeypatch.setattr(batches, "curve", lambda setup, size: (curves, np.array([10, 20])))
    (count,) = batches.gradients_of_examples(ONE)[0].contrasts
    assert (count.favoured, count.mine, count.other, count.theirs) == (
        "mini-batch",
        [640, 320],
        "batch",
        [28740, 14370],
    )
    assert count.margin == 14370
    steps = batches.steps_in_sequence(ONE)[0].contrasts
    assert [(x.favoured, x.mine, x.other) for x in steps] == [
        ("mini-batch", [20, 10], "stochastic"),
        ("batch", [20, 10], "mini-batch"),
    ]

    ends = {"train accuracy": (np.ones(2), np.ones(2)), "test accuracy": (np.full(2, 0.95), np.full(2, 0.9))}
    monkeypatch.setattr(decay, "pair", lambda setup, what, other: ends[what])
    gap = decay.gaps(ONE, "adam")
    np.testing.assert_allclose([gap.mine, gap.theirs], [[0.05] * 2, [0.1] * 2], rtol=1e-4)
    np.testing.assert_allclose(gap.margin, math.sqrt(0.925 * 0.075 / 997))
    assert gap.comparison.difference > 0  # a smaller gap is better


def test_what_is_drawn_is_what_was_measured():
    pairs = {"for": (LOW, HIGH), "against": (HIGH, LOW), "open": (LOW, MIXED)}
    contrasts = [Contrast("loss", name, mine, "other", theirs) for name, (mine, theirs) in pairs.items()]
    made = Group("name", "title", [Claim("n", "said", "b", "h", contrasts)], [], 3, 1.0)
    axes = picture(made).axes[0]
    assert [line.get_color() for line in axes.lines] == [MARKS[HOLDS], MARKS[FAILS], GREY]
    at = [line.get_xdata()[0] for line in axes.lines]
    assert at[0] > 1 > abs(at[2])
    assert at[1] == -at[0]
    seeds = [[1.0, 8.0], [3.0, 2.0], [2.0, 4.0]]
    axes = picture(dataclasses.replace(made, panels=[Panel("title", [0, 1], {"mine": seeds})])).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2.0, 4.0])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {tuple(x) for x in corners} >= {(0, 1), (0, 3), (1, 2), (1, 8)}


def test_counts_from_curves():
    steps = np.array([10, 20, 30])
    curves = np.array([[3.0, 1.0, 2.0], [3.0, 3.0, 3.0], [0.5, 2.0, 2.0]])
    np.testing.assert_array_equal(steps_to(curves, steps, 1.0), [20, 40, 10])
    accuracies = np.zeros((len(adam.RATES), 2))
    accuracies[4:9, 0] = [0.9, 0.91, 0.95, 0.94, 0.935]  # three within two points
    accuracies[2, 1] = np.nan
    accuracies[3, 1] = 0.5
    np.testing.assert_array_equal(adam.width(accuracies), [0.75, 0.25])
    ends = np.zeros((len(schedules.HIGH), 1))
    ends[[2, 5, 7], 0] = [0.95, 0.94, 0.92]
    np.testing.assert_allclose(schedules.highest(ends), np.log10(schedules.HIGH[5]))


def test_a_turn_is_a_change_of_direction():
    """By hand: descent overshoots at each step; momentum at a tenth of the rate turns seldom."""
    setup = Setup((0,), 0.2)
    places = momentum.across(setup, "sgd", momentum.STEEP)[0]
    np.testing.assert_allclose(places, places[0] * (1 - momentum.STEEP) ** np.arange(len(places)), rtol=1e-4)
    (turns, _), _ = momentum.damped(setup, momentum.STEEP * (1 - momentum.BETA))
    assert turns.theirs == [len(places) - 2]


@claim("said", "source")
def small(setup):
    """What is measured."""
    n = len(setup.seeds)
    values = jnp.arange(n)
    return [Contrast("loss", "a", values, "b", values + 1)], [Panel("title", [0, 1], {"a": np.ones((n, 2))})]


def test_the_program_keeps_what_it_does_not_measure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(course, "GROUPS", ("one", "two"))
    monkeypatch.setattr(course, "load", lambda name: SimpleNamespace(TITLE=name.title(), CLAIMS=(small,)))
    assert claims.main(["--out", str(tmp_path), "--seeds", "2"]) == 0
    assert "holds" in capsys.readouterr().out
    assert claims.main(["--out", str(tmp_path), "--only", "two", "--seeds", "3"]) == 0
    kept = claims.read(tmp_path / claims.KEPT)
    assert {name: x.seeds for name, x in kept.items()} == {"one": 2, "two": 3}
    assert (tmp_path / claims.PAGE).read_text() == page(list(kept.values()))
    assert (tmp_path / "one.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "adma"], "unknown group 'adma', did you mean 'adam'? choose from batches, "),
        (["--seeds", "0"], "must be at least 1, got 0"),
    ],
)
def test_a_bad_argument_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        claims.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"groups": [{}]}'])
def test_a_file_that_holds_no_claims_is_named_before_anything_is_measured(tmp_path, text, capsys):
    (tmp_path / claims.KEPT).write_text(text)
    with pytest.raises(SystemExit):
        claims.main(["--out", str(tmp_path)])
    assert f"{tmp_path / claims.KEPT} holds no claims (" in capsys.readouterr().err


def test_ctrl_c_keeps_the_groups_that_are_done(tmp_path, monkeypatch, capsys):
    def stop(setup):
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "GROUPS", ("one", "two"))
    functions = {"one": small, "two": stop}
    monkeypatch.setattr(course, "load", lambda name: SimpleNamespace(TITLE=name, CLAIMS=(functions[name],)))
    assert claims.main(["--out", str(tmp_path), "--seeds", "2"]) == 130
    assert list(claims.read(tmp_path / claims.KEPT)) == ["one"]
