"""Directories of checkpoints: to the bit, onto other meshes, in the background, and never half of one."""

import functools
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx import checkpoint, tree
from gradx.checkpoint import files, storage
from tests.checkpoint.survives import PARAMS, SCHEDULE, same_bits
from tests.checkpoint.test_survives import trained

ADAMW = gradx.adamw(SCHEDULE)


def saved(directory, *numbers, tx=ADAMW, params=PARAMS, **options):
    """Save a step for each number, with states that differ; return the last state."""
    state = None
    for number in numbers:
        state = trained(tx, params, number)
        checkpoint.save(directory, number, tx, state, params, **options).wait()
    return state


DTYPES = [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.complex64, jnp.int8, bool]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_dtypes_and_empty_arrays(tmp_path, asynchronous):
    params = {str(np.dtype(dtype)): jnp.arange(6).reshape(2, 3).astype(dtype) for dtype in DTYPES}
    params |= {"empty": jnp.zeros((0, 3)), "scalar": jnp.float32(3), "float": 2.0, "key": jnp.uint32([1, 2])}
    tx = gradx.GradientTransformation(
        lambda params: {"copy": jax.tree.map(jnp.asarray, params), "key": jax.random.key(3)},
        lambda updates, state, params=None: (updates, state),
    )
    state = tx.init(params)
    checkpoint.save(tmp_path, 0, tx, state, params, asynchronous=asynchronous).wait()
    restored = checkpoint.restore(tmp_path, tx, params)
    assert restored.report.is_complete
    same_bits(restored.state["copy"], state["copy"])
    same_bits(jax.random.key_data(restored.state["key"]), jax.random.key_data(state["key"]))
    same_bits(jax.tree.map(jnp.asarray, restored.params), jax.tree.map(jnp.asarray, params))


def test_without_state(tmp_path):
    checkpoint.save(tmp_path, 1, gradx.sgd(0.1), gradx.sgd(0.1).init(PARAMS), PARAMS)
    restored = checkpoint.restore(tmp_path, ADAMW, PARAMS)
    assert not restored.report.matched
    same_bits(restored.state, ADAMW.init(PARAMS))


# Meshes


def spread(mesh, params, **specs):
    return {name: jax.device_put(x, NamedSharding(mesh, specs.get(name, P()))) for name, x in params.items()}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_onto_another_mesh(tmp_path, kind):
    host = {"w": np.arange(64, dtype=np.float32).reshape(8, 8), "b": np.arange(8, dtype=np.float32)}
    first = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    second = jax.make_mesh((2, 2), ("x", "y"), axis_types=(kind, kind), devices=jax.devices()[:4])
    with jax.set_mesh(first):
        params = spread(first, host, w=P("data"), b=P("data"))
        state = trained(ADAMW, params)
        checkpoint.save(tmp_path, 3, ADAMW, state, params)
    wanted = {
        "w": jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=NamedSharding(second, P("y", "x"))),
        "b": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=NamedSharding(second, P("x"))),
    }
    with jax.set_mesh(second):
        restored = checkpoint.restore(tmp_path, ADAMW, wanted)
        same_bits(jax.tree.map(np.asarray, restored.state), jax.tree.map(np.asarray, state))
        same_bits(jax.tree.map(np.asarray, restored.params), host)
        for name, like in wanted.items():
            for x in (restored.params[name], restored.state[0].mu[name], restored.state[0].nu[name]):
                assert x.sharding.is_equivalent_to(like.sharding, x.ndim)
        updates, _ = ADAMW.update(restored.params, restored.state, restored.params)
        assert updates["w"].sharding.is_equivalent_to(wanted["w"].sharding, 2)


def test_shapes_that_a_trace_tells(tmp_path):
    """On explicit axes `jax.eval_shape` says how parameters lie, of no devices: those of `jax.set_mesh`."""
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        params = spread(mesh, {"w": jnp.ones((8, 8)), "b": jnp.ones(3)}, w=P("data", "model"))
        state = saved(tmp_path, 3, params=params)
        shapes = jax.eval_shape(lambda: jax.tree.map(jnp.negative, params))
        restored = checkpoint.restore(tmp_path, ADAMW, shapes)
    for x, y in zip(*(jax.tree.leaves((z[0].mu, z[0].nu)) for z in (restored.state, state)), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
    assert restored.params["w"].sharding == params["w"].sharding
    with pytest.raises(ValueError, match=r"restore: a parameter of .* of no devices: call it under jax\.set_mesh"):
        checkpoint.restore(tmp_path, ADAMW, shapes)


def test_a_state_may_be_spread_otherwise_than_the_parameters(tmp_path):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    params = spread(mesh, {"w": jnp.ones((8, 8)), "b": jnp.ones(3)})
    state = saved(tmp_path, 3, params=params)
    one, all_of_it = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    shardings = jax.tree.map(lambda x: one if x.shape == (8, 8) else all_of_it, state)
    restored = checkpoint.restore(tmp_path, ADAMW, params, shardings=shardings)
    same_bits(jax.tree.map(np.asarray, restored.state), jax.tree.map(np.asarray, state))
    for x, sharding in zip(jax.tree.leaves(restored.state), jax.tree.leaves(shardings), strict=True):
        assert x.sharding == sharding


# In the background


def test_what_is_donated_while_it_is_written_is_written_right(tmp_path):
    params = {"w": jnp.zeros((512, 512))}
    tx = gradx.sgd(1.0, momentum=0.5)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        return gradx.apply_updates(params, updates), state

    state, expected = tx.init(params), {}
    for i in range(1, 7):
        params, state = step(params, state)
        if i % 2 == 0:
            expected[i] = np.array(params["w"]), np.array(tree.get(state, "trace")["w"])
            saving = checkpoint.save(tmp_path, i, tx, state, params, asynchronous=True)
    saving.wait()
    for i, (w, trace) in expected.items():
        restored = checkpoint.restore(tmp_path, tx, jax.eval_shape(lambda: params), step=i)
        np.testing.assert_array_equal(restored.params["w"], w)
        np.testing.assert_array_equal(tree.get(restored.state, "trace")["w"], trace)


def test_what_goes_wrong_in_the_background_is_told(tmp_path, monkeypatch):
    def fail(directory):
        raise OSError("no space left")

    monkeypatch.setattr(files, "seal", fail)
    saving = checkpoint.save(tmp_path, 1, ADAMW, ADAMW.init(PARAMS), PARAMS, asynchronous=True)
    with pytest.raises(OSError, match="no space left"):
        saving.wait()
    saving.wait()  # told once
    checkpoint.save(tmp_path, 2, ADAMW, ADAMW.init(PARAMS), PARAMS, asynchronous=True)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(tmp_path, 3, ADAMW, ADAMW.init(PARAMS), PARAMS)


# Damage


def everything(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_every_file_is_guarded(tmp_path):
    """Shortened, changed in one bit, or gone: each is refused by its name."""
    saved(tmp_path, 1)
    step = tmp_path / "1"
    files.verify(step)
    found = everything(step)
    assert len(found) > 10
    for path in found:
        whole = path.read_bytes()
        damages = [whole[:-1], whole[: len(whole) // 2], b""]
        damages += [bytes([*whole[:i], whole[i] ^ 1, *whole[i + 1 :]]) for i in {0, len(whole) // 2, len(whole) - 1}]
        for damage in damages if path.name != files.SEAL else damages[:3]:
            path.write_bytes(damage)
            with pytest.raises(checkpoint.CheckpointError, match=path.name):
                files.verify(step)
        path.unlink()
        with pytest.raises(checkpoint.CheckpointError, match=path.name):
            files.verify(step)
        path.write_bytes(whole)
    files.verify(step)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    before = saved(tmp_path, 2)
    saved(tmp_path, 3, 4)
    largest = max(everything(tmp_path / "4" / "state"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    (tmp_path / "3" / "params" / "_METADATA").unlink()
    with pytest.warns(UserWarning, match=r"step . is refused, the one before is taken") as told:
        restored = checkpoint.restore(tmp_path, ADAMW, PARAMS)
    assert len(told) == 2
    assert restored.step == 2
    same_bits(restored.state, before)
    assert str(largest) in restored.refused[4]
    assert "_METADATA: missing" in restored.refused[3]
    with pytest.raises(checkpoint.CheckpointError, match=largest.name):
        checkpoint.restore(tmp_path, ADAMW, PARAMS, step=4)
    shutil.rmtree(tmp_path / "2")
    both = rf"{largest.name}.*_METADATA"
    with pytest.warns(UserWarning, match="refused"), pytest.raises(checkpoint.CheckpointError, match=both):
        checkpoint.restore(tmp_path, ADAMW, PARAMS)


@pytest.mark.parametrize("spoilt", ["d", "_METADATA"])
def test_what_orbax_cannot_read_is_refused_too(tmp_path, spoilt):
    """Should the sums agree and the bytes be wrong, its own error names the place.

    The state is one array: of several the first that fails ends Orbax's event loop, and the others, still being read,
    complain to it from their threads whenever they get there, into this test or the next.
    """
    tx, params = gradx.sgd(0.1, momentum=0.9), {"scale": PARAMS["scale"]}
    before = saved(tmp_path, 1, tx=tx, params=params)
    saved(tmp_path, 2, tx=tx, params=params)
    place = tmp_path / "2" / "state" / spoilt
    for path in everything(place) if place.is_dir() else [place]:
        path.write_bytes(b"nonsense" * 100)
    files.seal(tmp_path / "2")
    with pytest.warns(UserWarning, match="step 2 is refused"):
        restored = checkpoint.restore(tmp_path, tx, params)
    same_bits(restored.state, before)
    assert str(tmp_path / "2" / "state") in restored.refused[2]


def test_what_a_crash_leaves_is_passed_over_and_cleared_away(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / "2" / files.SEAL).unlink()
    draft = tmp_path / f"3{files.UNFINISHED}-123" / "state"
    draft.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = checkpoint.restore(tmp_path, ADAMW, PARAMS)
    assert restored.step == 1
    assert list(restored.refused) == [2]
    saved(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


def test_a_crash_while_one_is_taken_away_leaves_no_stranger(tmp_path, monkeypatch):
    saved(tmp_path, 1, 2)
    rmtree = shutil.rmtree

    def killed(path, **how):
        if path.is_dir():
            (path / files.SEAL).unlink(missing_ok=True)
            for item in filter(Path.is_dir, path.iterdir()):
                rmtree(item)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            files.remove(tmp_path / "1")
    saved(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_what_was_never_finished_is_no_checkpoint(tmp_path):
    """A run that was killed in its first save begins anew, as one that never saved."""
    saved(tmp_path, 1)
    (tmp_path / "1" / files.SEAL).unlink()
    for error in (FileNotFoundError, checkpoint.UnfinishedError):
        with pytest.raises(error, match=r"gradx_files\.json: missing, the checkpoint was not finished"):
            checkpoint.restore(tmp_path, ADAMW, PARAMS)


def test_as_many_are_kept_as_asked_for(tmp_path):
    saved(tmp_path, 1, 2, 3)
    assert files.steps(tmp_path) == [1, 2, 3]
    saved(tmp_path, 4, keep=2)
    assert files.steps(tmp_path) == [3, 4]
    saved(tmp_path, 4, keep=2)
    assert files.steps(tmp_path) == [3, 4]
    first = saved(tmp_path, 4, keep=1)
    assert files.steps(tmp_path) == [4]
    same_bits(checkpoint.restore(tmp_path, ADAMW, PARAMS).state, first)


def test_a_step_is_replaced(tmp_path):
    saved(tmp_path, 4)
    state = trained(ADAMW, PARAMS, 7)
    checkpoint.save(tmp_path, 4, ADAMW, state, PARAMS)
    same_bits(checkpoint.restore(tmp_path, ADAMW, PARAMS).state, state)


def full(directory):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_step_that_cannot_be_replaced_stays(tmp_path, monkeypatch, asynchronous):
    """The last save of a run is often of a step that is there: the only checkpoint must outlive its failure."""
    first = saved(tmp_path, 4)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(files, "seal", full)
            with pytest.raises(OSError, match="No space left"):
                saved(tmp_path, 4, keep=1, asynchronous=asynchronous, tx=gradx.adamw(0.5))
        for options in ({}, {"step": 4}):
            restored = checkpoint.restore(tmp_path, ADAMW, PARAMS, **options)
            assert (restored.step, restored.refused) == (4, {})
            same_bits(restored.state, first)
    with pytest.raises(ValueError, match="step 2 comes before step 4"):
        saved(tmp_path, 2)
    state = trained(ADAMW, PARAMS, 7)
    checkpoint.save(tmp_path, 4, ADAMW, state, PARAMS, keep=1)
    same_bits(checkpoint.restore(tmp_path, ADAMW, PARAMS).state, state)
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_what_was_replaced_is_cleared_away_after_a_crash(tmp_path):
    saved(tmp_path, 4)
    shutil.copytree(tmp_path / "4", tmp_path / f"4{files.REPLACED}")
    (tmp_path / f"4{files.REPLACED}" / "params" / "_METADATA").unlink()
    assert checkpoint.restore(tmp_path, ADAMW, PARAMS).step == 4
    saved(tmp_path, 5)
    assert checkpoint.restore(tmp_path, ADAMW, PARAMS, step=4).step == 4
    assert files.steps(tmp_path) == [4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "5"]


def test_a_directory_has_one_name(tmp_path, monkeypatch):
    """However it is called, what is under way there is waited for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    for step, name in enumerate(("run", "latest", "~/run", "./other/../run")):
        checkpoint.save(name, step, ADAMW, ADAMW.init(PARAMS), PARAMS, asynchronous=True)
        assert checkpoint.restore(tmp_path / "run", ADAMW, PARAMS).step == step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "run"]


def test_a_later_step_is_in_the_way_if_it_is_whole(tmp_path):
    """Who goes on from an earlier step would find the later one again after a crash."""
    saved(tmp_path, 1, 4)
    with pytest.raises(ValueError, match=r"step 2 comes before step 4, which is there .* remove .*4"):
        saved(tmp_path, 2)
    assert files.steps(tmp_path) == [1, 4]
    (tmp_path / "4" / "params" / "_METADATA").unlink()
    saved(tmp_path, 2)
    assert files.steps(tmp_path) == [1, 2]


def test_restore_waits_for_what_is_under_way(tmp_path):
    for step in range(1, 4):
        checkpoint.save(tmp_path, step, ADAMW, ADAMW.init(PARAMS), PARAMS, asynchronous=True)
        assert checkpoint.restore(tmp_path, ADAMW, PARAMS).step == step


# Changes and mistakes


def test_another_optimizer_takes_what_is_its_own(tmp_path):
    state = saved(tmp_path, 3)
    tx = gradx.MultiSteps(gradx.chain(gradx.ema(0.9), ADAMW), 2)
    restored = checkpoint.restore(tmp_path, tx, PARAMS)
    same_bits(tree.get(restored.state, "ScaleByAdamState"), tree.get(state, "ScaleByAdamState"))
    assert {name.partition(".")[0] for name in restored.report.new} == {"MultiSteps", "MultiSteps/ema"}


def test_parameters_may_come_and_go(tmp_path):
    saved(tmp_path, 3)
    params = {"layer": PARAMS["layer"], "head": jnp.full(4, 7.0)}
    restored = checkpoint.restore(tmp_path, ADAMW, params)
    np.testing.assert_array_equal(restored.params["head"], 7.0)
    assert restored.report.new["params:head"]
    assert restored.report.left_out["params:scale"]
    shapes = jax.eval_shape(lambda: params)
    with pytest.raises(ValueError, match="no parameter 'head', and no value is given for it"):
        checkpoint.restore(tmp_path, ADAMW, shapes)
    params["layer"] = params["layer"] | {"bias": jnp.ones(5)}
    with pytest.raises(ValueError, match=r"the parameter 'layer/bias' is \(3,\) in the checkpoint, and \(5,\) here"):
        checkpoint.restore(tmp_path, ADAMW, params)


def test_parameters_take_the_dtype_asked_for(tmp_path):
    saved(tmp_path, 3)
    restored = checkpoint.restore(tmp_path, ADAMW, tree.cast(PARAMS, jnp.bfloat16))
    same_bits(restored.params, tree.cast(PARAMS, jnp.bfloat16))


def test_mistakes_are_named(tmp_path):
    state = ADAMW.init(PARAMS)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*nowhere"):
        checkpoint.restore(tmp_path / "nowhere", ADAMW, PARAMS)
    saved(tmp_path / "here", 1)
    with pytest.raises(FileNotFoundError, match="for step 7"):
        checkpoint.restore(tmp_path / "here", ADAMW, PARAMS, step=7)
    # A float would be the name of a directory that nobody looks for
    for step in (-1, 0.5, 3.0, np.float32(3), True, np.True_, jnp.array(True), "7", None, float("nan")):
        with pytest.raises(ValueError, match="save: step must be an integer of at least 0"):
            checkpoint.save(tmp_path, step, ADAMW, state, PARAMS)
        if step is not None:
            with pytest.raises(ValueError, match="restore: step must be an integer of at least 0"):
                checkpoint.restore(tmp_path / "here", ADAMW, PARAMS, step=step)
    for keep in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"keep must be an integer of at least 1, got {keep}"):
            checkpoint.save(tmp_path, 1, ADAMW, state, PARAMS, keep=keep)
    for step in (np.int64(2), jnp.int32(3)):
        assert checkpoint.save(tmp_path / "here", step, ADAMW, state, PARAMS).step == step
        assert checkpoint.restore(tmp_path / "here", ADAMW, PARAMS, step=step).step == step
    with pytest.raises(ValueError, match=r"gs://bucket/run: only directories on a disk; give .*state_dict"):
        checkpoint.save("gs://bucket/run", 1, ADAMW, state, PARAMS)


def test_what_a_later_version_wrote_asks_for_it(tmp_path, monkeypatch):
    """It is no damage: the one before is not taken, whatever else a later version writes otherwise."""
    saved(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "state_dict", lambda *a: checkpoint.state_dict(*a) | {"gradx": '{"format": 2}'})
        patch.setattr(storage, "_type", lambda x: {"shape": np.shape(x)})
        saved(tmp_path, 2)
    with pytest.raises(ValueError, match="its format is 2, this gradx reads up to 1: update gradx"):
        checkpoint.restore(tmp_path, ADAMW, PARAMS)


def test_checkpoints_of_others_are_left_alone(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "7", {"x": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"7: no checkpoint of gradx.checkpoint.save; give it a directory of its own"):
        saved(tmp_path, 1)
    assert (tmp_path / "7" / "_METADATA").exists()
