"""What is planned is what is compiled; processes that train together, and what is told of them."""

import json
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import scale
from benchmarks.scaling import launch
from benchmarks.scaling.hlo import collectives
from benchmarks.scaling.plan import LAYOUTS, MODELS, OPTIMIZERS, Transformer, plan, step_of
from benchmarks.scaling.tables import report
from benchmarks.scaling.trace import sent
from benchmarks.scaling.worker import Leg

SMALL = Transformer(64, 2, 192, vocabulary=256, key_width=32)
SLOW = pytest.mark.slow
FAST = [("adamw", "ZeRO-1"), ("muon", "data parallel"), ("muon", "FSDP")]
OTHERS = [(name, layout) for name in OPTIMIZERS for layout in LAYOUTS if (name, layout) not in FAST]


@pytest.mark.parametrize(("name", "layout"), [*FAST, *(pytest.param(*x, marks=SLOW) for x in OTHERS)])
def test_what_is_planned_is_what_is_compiled(name, layout):
    tx, sizes = OPTIMIZERS[name](), {"data": 8}
    found = plan(tx, SMALL, layout, sizes)
    mesh = jax.make_mesh((8,), ("data",))
    step, arguments = step_of(tx, SMALL, layout, mesh)
    with jax.set_mesh(mesh):
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    rest = memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.temp_size_in_bytes
    assert found.params + found.state + found.gradient == memory.argument_size_in_bytes
    assert found.step == pytest.approx(memory.argument_size_in_bytes + rest, rel=0.1)
    assert found.flops == pytest.approx(compiled.cost_analysis()["flops"], rel=0.1)
    assert found.sent == pytest.approx(collectives(compiled.as_text())[1], rel=0.1)


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
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "| ZeRO-1 |" in line]
    assert row.startswith("| 7B | adamw | data 64 | ZeRO-1 | 26.95 | 0.84 |")
    assert row in (scale.RESULTS / "plan.md").read_text()  # the kept page
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
