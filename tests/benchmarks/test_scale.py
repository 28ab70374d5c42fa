"""What is planned is what is compiled; processes that train together, and what is told of them."""

import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

from benchmarks import scale
from benchmarks.scaling import launch
from benchmarks.scaling.hlo import collectives
from benchmarks.scaling.plan import LAYOUTS, MODELS, OPTIMIZERS, abstract, plan
from benchmarks.scaling.tables import report
from benchmarks.scaling.trace import need, sent
from benchmarks.scaling.worker import Leg, _bytes_here
from tests.benchmarks.compiled import SMALL, ask

SLOW = pytest.mark.slow
MESHES = [{"data": 8}, {"data": 4, "model": 2}, {"data": 2, "model": 4}]
PLANS = [(name, layout, sizes) for name in OPTIMIZERS for layout in LAYOUTS for sizes in MESHES]
FAST = [("adamw", "ZeRO-1", MESHES[0]), ("muon", "data parallel", MESHES[1]), ("muon", "FSDP", MESHES[2])]


@pytest.mark.parametrize(
    ("name", "layout", "sizes"), [pytest.param(*x, marks=() if x in FAST else SLOW) for x in PLANS]
)
def test_what_is_planned_is_what_is_compiled(name, layout, sizes):
    found = plan(OPTIMIZERS[name](), SMALL, layout, sizes)
    wanted = ask(name, layout, sizes)
    assert found.params + found.state + found.gradient == wanted["arguments"]
    assert found.step == pytest.approx(wanted["step"], rel=0.1)
    assert found.flops == pytest.approx(wanted["flops"], rel=0.1)
    total = sum(wanted["sent"].values())
    assert sum(found.sent.values()) == pytest.approx(total, rel=0.1)
    for collective, size in wanted["sent"].items():  # one that moves little XLA may make another of
        assert found.sent.get(collective, 0) == pytest.approx(size, rel=0.1, abs=0.05 * total)


MESH = abstract({"data": 4, "model": 2})


def typed(*shape, spec=(), dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(MESH, P(*spec)))


ROWS, SQUARE, VECTOR, FLAG = typed(8, 16, spec=("data",)), typed(16, 16), typed(16), typed(dtype=jnp.bool_)
"""Of `ROWS` a device has 2, which are 128 bytes."""
PRODUCT, SUM = 2 * 2 * 16 * 16, 2 * 16 - 16


def moved(*spec):
    return lambda x: jax.sharding.reshard(x, NamedSharding(MESH, P(*spec)))


@pytest.mark.parametrize(
    ("f", "arguments", "flops", "bytes_sent"),
    [
        pytest.param(jnp.matmul, (ROWS, SQUARE), PRODUCT, {}, id="a product of rows"),
        pytest.param(jnp.exp, (ROWS,), 0, {}, id="exponentials"),
        pytest.param(lambda x: x * x, (ROWS,), 2 * 16, {}, id="a product of entries"),
        pytest.param(lambda x: x.sum(1), (ROWS,), 2 * 15, {}, id="a sum along rows"),
        pytest.param(lambda x: x.sum(0), (ROWS,), SUM, {"all-reduce": 2 * 64 * 3 / 4}, id="a sum over devices"),
        pytest.param(
            lambda x, w: jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=5)[0],
            (ROWS, SQUARE), 5 * PRODUCT, {}, id="a loop",
        ),
        pytest.param(
            lambda x, v: jax.lax.scan(lambda c, _: (c + x.sum(0), None), v, None, length=5)[0],
            (ROWS, VECTOR), 5 * (SUM + 16), {"all-reduce": 5 * 2 * 64 * 3 / 4}, id="a loop that sends",
        ),
        pytest.param(
            lambda flag, x, w: jax.lax.cond(flag, lambda: x @ w, lambda: x),
            (FLAG, ROWS, SQUARE), PRODUCT + 1, {}, id="two branches, and the number of one",
        ),
        pytest.param(moved(None, "data"), (ROWS,), 0, {"all-to-all": 128 * 3 / 4}, id="rows become columns"),
        pytest.param(moved(), (ROWS,), 0, {"all-gather": 512 * 3 / 4}, id="rows are gathered"),
        pytest.param(moved(None, "model"), (ROWS,), 0, {"all-gather": 256 * 3 / 4}, id="rows become other columns"),
        pytest.param(moved("data", "model"), (ROWS,), 0, {}, id="rows are sliced"),
    ],
)  # fmt: skip
def test_the_need_of_small_programs_is_counted_by_hand(f, arguments, flops, bytes_sent):
    found = need(f, MESH, *arguments)
    assert (found.flops, found.sent) == (flops, bytes_sent)


HELD = 128
"""Bytes of a device's part of a product of `ROWS`."""


@pytest.mark.parametrize(
    ("f", "arguments", "held"),
    [
        pytest.param(lambda x, w: x @ w, (ROWS, SQUARE), 0, id="a result has its place"),
        pytest.param(lambda x, w: (x @ w) @ w, (ROWS, SQUARE), HELD, id="a product for another"),
        pytest.param(lambda x, w, v: x @ w + x @ v, (ROWS, SQUARE, SQUARE), 2 * HELD, id="two at once"),
        pytest.param(
            lambda x, w, v: ((x @ w) @ w, (x @ v) @ w), (ROWS, SQUARE, SQUARE), HELD, id="one result after the other",
        ),
        pytest.param(
            lambda x, w, v: ((a := x @ w) @ w, (x @ v) @ w + a),
            (ROWS, SQUARE, SQUARE), 3 * HELD, id="one waits for the second",
        ),
        pytest.param(lambda x, w: (2 * x) @ w, (ROWS, SQUARE), HELD, id="an operand is written"),
        pytest.param(lambda x, w: ((y := 2 * x) @ w, y), (ROWS, SQUARE), 0, id="an operand that is a result"),
        pytest.param(lambda x, w: jnp.exp(2 * (x @ w)), (ROWS, SQUARE), HELD, id="entries are computed together"),
        pytest.param(lambda x: 3 * jnp.exp(x)[:, :8], (ROWS,), HELD, id="what is cut is whole before"),
        pytest.param(
            lambda x, w: jnp.concatenate([x, x + 1], axis=1) @ jnp.concatenate([w, w]),
            (ROWS, SQUARE), 2 * HELD + 2 * 1024, id="parts of one array",
        ),
        pytest.param(
            lambda x, v: (x.sum(0) * v, jnp.sin(x).sum(0) * v), (ROWS, VECTOR), 64, id="a sum over devices",
        ),
    ],
)  # fmt: skip
def test_what_a_small_program_holds_is_counted_by_hand(f, arguments, held):
    assert need(f, MESH, *arguments).temporaries == held


@pytest.mark.parametrize(("name", "parameters"), [("7B", 6_738_415_616), ("70B", 68_976_648_192)])
def test_models_are_as_large_as_their_cards_say(name, parameters):
    shapes = jax.tree.leaves(MODELS[name].params, is_leaf=lambda x: isinstance(x, tuple))
    assert sum(map(math.prod, shapes)) == parameters


def test_bytes_are_those_of_the_first_device():
    mesh = jax.make_mesh((8,), ("data",))
    split, whole = (
        jax.device_put(np.zeros(n, np.float32), NamedSharding(mesh, P(*x))) for n, x in ((16, ("data",)), (3, ()))
    )
    assert _bytes_here({"split": split, "whole": whole}) == 2 * 4 + 3 * 4


def test_a_mesh_of_ten_thousand_devices():
    whole = plan(OPTIMIZERS["adamw"](), MODELS["7B"], "ZeRO-1", {"data": 1250, "model": 8})
    assert whole.whole == whole.state - 4  # no size of this model is divided by 1250
    parts = plan(OPTIMIZERS["adamw"](), MODELS["7B"], "ZeRO-1", {"data": 1024, "model": 8})
    assert parts.whole == 0
    assert 0.9 < 1024 * parts.state / whole.state < 1.1
    assert parts.params == whole.params
    assert parts.sent["all-gather"] == pytest.approx(parts.params, rel=0.01)


def test_collectives_of_a_text():
    """XLA writes who takes part in three ways."""
    text = """
      %a = f32[4,8]{1,0} all-gather(%x), replica_groups={{0,1},{2,3}}, dimensions={0}
      %b = (f32[3]{0}, bf16[2,2]{1,0}) all-reduce(%x, %y), replica_groups=[2,4]<=[8], to_apply=%sum
      %c = f32[] all-reduce(%x), replica_groups=[1,8]<=[8], to_apply=%sum
      %d = f32[6]{0} reduce-scatter(%x), replica_groups=mesh['a'=4,'b'=2], device_ids=([2,2,2]T(0,2,1)) {'a':(2)2,'b'}
      %e = s32[5]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}
      %f = f32[5]{0} fusion(%x), calls=%all-gather
    """
    counts, found = collectives(text)
    assert counts == {"all-gather": 1, "all-reduce": 2, "reduce-scatter": 1, "collective-permute": 1}
    assert found == {
        "all-gather": 4 * 32 / 2,
        "all-reduce": 2 * (12 + 8) * 3 / 4 + 2 * 4 * 7 / 8,
        "reduce-scatter": 6 * 4 * 4 * 3 / 4,
        "collective-permute": 20,
    }
    assert sent("all-to-all", 100, 1) == 0


def test_the_plan_of_a_command_line(capsys):
    scale.main(["--plan", "--models", "7B", "--optimizers", "adamw", "--mesh", "data=64"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 7B |")]
    assert rows[1].startswith("| 7B | adamw | data 64 | ZeRO-1 | 26.95 | 0.84 |")
    kept = (scale.RESULTS / "plan.md").read_text().splitlines()
    assert rows == [line for line in kept if line.startswith("| 7B | adamw | data 64 |")]
    with pytest.raises(SystemExit):
        scale.main(["--plan", "--mesh", "batch=64"])
    assert "must be data=N or model=N, got 'batch=64'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        scale.main(["--processes", "2", "--steps", "3"])
    assert "--processes needs two numbers" in capsys.readouterr().err


@pytest.mark.skipif(not (scale.RESULTS / "scale.json").exists(), reason="nothing is kept")
def test_the_kept_tables_are_those_of_the_kept_numbers():
    kept = json.loads((scale.RESULTS / "scale.json").read_text())
    assert (scale.RESULTS / "scale.md").read_text() == report(kept)
    ends = {}
    for row in kept["trained"]:
        ends.setdefault(row["optimizer"], []).append(row["losses"][-1])
    for losses in ends.values():
        assert max(losses) - min(losses) < 0.01


def test_the_tables_say_what_was_found():
    """Of a made-up training of 6 steps by one process and by two."""
    losses = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])

    def row(processes, layout, apart):
        return {
            "processes": processes, "optimizer": "adamw", "layout": layout, "losses": list(losses + apart),
            "params": 1e3, "state": 2e3 / processes, "temporaries": 5e3, "flops": 7e6 * processes,
            "collectives": {"all-reduce": 10 * processes, "all-gather": 3},
            "sent": {"all-reduce": 4e3 * processes, "all-gather": 1e3},
        }  # fmt: skip

    trained = [row(n, layout, 0.25 * (n == 2) * np.arange(6)) for n in (1, 2) for layout in ("data parallel", "ZeRO-1")]
    whole = losses + 0.25 * np.arange(6)  # of two processes
    resumed = {"one": list(np.add(whole[2:4], [0.0, 0.5])), "back": list(np.subtract(whole[4:], [0.125, 0.0]))}
    text = report(
        {
            "versions": {"jax": "1"},
            "platform": {"device": "cpu"},
            "steps": 6,
            "batch": 16,
            "rows": 4,
            "devices": 2,
            "trained": trained,
            "weak": trained,
            "resumed": {"adamw": resumed},
        }
    )
    for line in (
        "| optimizer | layout | 2 devices | 4 devices |",
        "| adamw | ZeRO-1 | 1.0000 (0e+00) | 2.2500 (1e+00) |",
        "| adamw | ZeRO-1 | 1 + 2 + 5 | 1 + 1 + 5 |",
        "| adamw | ZeRO-1 | 20: 8 kB | – | 3: 1 kB | – | – |",
        "| adamw | ZeRO-1 | 7 MFLOP, 5 kB sent | 14 MFLOP, 9 kB sent |",
        "| adamw | 5e-01 | 1e-01 |",
    ):
        assert line in text.splitlines()


def test_a_training_goes_on_from_what_others_saved(monkeypatch):
    """Which stretches are asked for: the middle third by one process, from all; the last by all, from that one."""
    calls = []

    def run(count, legs, devices):
        calls.append((count, legs))
        seen = {"devices": count * devices}
        return [seen | {"losses": list(range(leg.first, leg.last)), "batch": leg.batch} for leg in legs]

    monkeypatch.setattr(launch, "run", run)
    found = scale.measure((1, 4), 6)
    assert found["resumed"] == {name: {"one": [2, 3], "back": [4, 5]} for name in OPTIMIZERS}
    assert all(x["losses"] == list(range(6)) and x["batch"] == scale.BATCH for x in found["trained"])
    assert all(x["losses"] == [0] and x["batch"] == 8 * x["processes"] for x in found["weak"])
    assert all(x["devices"] == 2 * x["processes"] for x in [*found["trained"], *found["weak"]])
    assert len(found["trained"]) == len(found["weak"]) == 2 * len(OPTIMIZERS) * len(LAYOUTS)
    saved, restored = {}, []
    for count, legs in calls:
        restored += [(saved.get(leg.restore), count, leg) for leg in legs if leg.restore]
        saved |= {leg.save: (count, leg.optimizer, leg.last) for leg in legs if leg.save}
    assert len(restored) == 2 * len(OPTIMIZERS)
    for before, count, leg in restored:
        assert before == (4 if count == 1 else 1, leg.optimizer, leg.first)


def test_a_process_that_fails_ends_the_others():
    wait, fail = "import time; time.sleep(600)", "raise SystemExit('what was wrong')"
    with pytest.raises(launch.Failed, match="process 1 ended with 1:\nwhat was wrong"):
        launch.together([[sys.executable, "-c", x] for x in (wait, fail)], 1, 60)
    with pytest.raises(launch.Failed, match="process 0 has not ended in time"):
        launch.together([[sys.executable, "-c", wait]], 1, 0.5)


@SLOW
def test_saved_by_two_processes_and_taken_up_by_one(tmp_path):
    def leg(first, last, **places):
        return Leg("adamw", "ZeRO-1", 8, 6, first, last, **{x: str(Path(tmp_path, y)) for x, y in places.items()})

    whole, _ = launch.run(2, [leg(0, 4), leg(0, 2, save="here")], seconds=300)
    (rest,) = launch.run(1, [leg(2, 4, restore="here")], seconds=300)
    assert rest["losses"] == pytest.approx(whole["losses"][2:], rel=1e-4)
    assert whole["state"] < 1.1 * rest["state"] / 2
