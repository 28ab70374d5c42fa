"""AdamW against Adam with L2: what decoupled weight decay does to the gap between training and test."""

import functools

import numpy as np

import gradx
from benchmarks import verdict
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Trained, few_digits, perceptron, train

TITLE = "AdamW and L2"
RATES = [1e-3, 3e-3, 1e-2, 3e-2, 0.1]
DECAYS = {
    "adamw": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
    "adam with L2": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
}
OPTIMIZERS = {
    "adamw": gradx.adamw(0.1, weight_decay=0.1),
    "adam with L2": gradx.chain(gradx.add_decayed_weights(0.1), gradx.adam(0.1)),
}
STEPS = 800
WIDTH = 48
TESTED = 997
PAPER = "Loshchilov and Hutter 2019, arXiv:1711.05101"


@functools.cache
def trained(setup: Setup, name: str) -> Trained:
    """Return trainings with every rate and every decay; Adam alone with every rate."""
    problem = perceptron(WIDTH, 16, sets=dict(zip(("train", "valid", "test"), few_digits(), strict=True)))
    if name == "adam":
        return train(setup, problem, gradx.adam(0.1), {"learning_rate": RATES}, STEPS)
    values = gradx.tune.grid(learning_rate=RATES, weight_decay=DECAYS[name])
    return train(setup, problem, OPTIMIZERS[name], values, STEPS)


def curves(setup: Setup, what: str) -> dict[str, np.ndarray]:
    """Return what each has with the rate and the decay that are best on 400 further digits: [seeds, looks]."""
    found = {name: trained(setup, name) for name in (*OPTIMIZERS, "adam")}
    return {name: x.of(what, x.best("valid accuracy", higher=True, last=4)) for name, x in found.items()}


def pair(setup: Setup, what: str, other: str = "adam with L2") -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of AdamW and of another: [seeds] each."""
    found = curves(setup, what)
    return found["adamw"][:, -1], found[other][:, -1]


def gaps(setup: Setup, other: str) -> Contrast:
    """Return the gap of AdamW against that of another; it is as uncertain as the accuracies on the test set."""
    train_set, test_set = pair(setup, "train accuracy", other), pair(setup, "test accuracy", other)
    mine, theirs = (a - b for a, b in zip(train_set, test_set, strict=True))
    margin = verdict.standard_error(float(np.mean(test_set)), TESTED)
    return Contrast("gap", "adamw", mine, other, theirs, style=".1%", margin=margin)


@claim("Decoupled decay (AdamW) leaves a smaller gap between training and test than L2 in Adam's gradient.", PAPER)
def smaller_gap(setup: Setup) -> Measured:
    """A perceptron with 48 hidden units that learns 400 scanned digits by heart, 800 steps of 16; accuracy on those
    less accuracy on 997 others. Of five rates and seven decays each has those that are best on 400 further digits."""
    found = curves(setup, "train accuracy"), curves(setup, "test accuracy")
    steps = trained(setup, "adam").steps
    gap = {name: found[0][name] - x for name, x in found[1].items()}
    panels = [
        Panel("test accuracy", steps, found[1], ylim=(0.85, 0.97)),
        Panel("training less test accuracy", steps, gap),
    ]
    return [gaps(setup, "adam with L2")], panels


@claim("AdamW generalizes better than Adam with L2.", PAPER)
def better_test_accuracy(setup: Setup) -> Measured:
    """The same trainings: accuracy on the 997 digits."""
    mine, theirs = pair(setup, "test accuracy")
    how = {"style": ".1%", "examples": TESTED, "ceiling": 1.0}
    return [Contrast("test accuracy", "adamw", mine, "adam with L2", theirs, True, **how)], []


@claim("Weight decay narrows the gap: AdamW's is smaller than Adam's without any.", PAPER)
def smaller_gap_than_without(setup: Setup) -> Measured:
    """The same trainings, and Adam without decay."""
    return [gaps(setup, "adam")], []


CLAIMS = (smaller_gap, better_test_accuracy, smaller_gap_than_without)
