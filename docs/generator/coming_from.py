"""Pages for who comes from Optax, PyTorch or Keras."""

import importlib
from types import ModuleType

from docs.generator import names, peers
from docs.generator.docstrings import escaped, in_cell
from docs.generator.peers import Peer

OPTAX = """\
# Coming from Optax

Nothing has to change: gradx speaks Optax's protocol, so a `gradx` optimizer goes wherever one of Optax's goes, and
parts of either go into a chain of the other. There are two ways in.

**Keep the program, change one line.** `import gradx.compat.optax as optax`: same names, arguments, state fields and,
within float32 rounding, numbers, but where the table below says otherwise. What a program would get is said before:

```bash
python -m gradx.compat.check path/to/program
```

**Write `gradx` instead of `optax`.** Names, order and defaults are Optax's; a name that is another here is answered:

```python
import gradx

try:
    gradx.trace
except AttributeError as answer:
    print(answer)
```

## What is different

| in Optax | here |
| --- | --- |
| a transformation is a pair of closures | a value: it prints, compares, pickles, and is a pytree of its numbers |
| another rate traces again, or is injected | `jit(step)(tx, ...)` traces once; `jax.vmap` is a sweep |
| the learning rate alone may be a schedule | any float may |
| the current rate: search in the state | `gradx.hyperparams(tx, state)` |
| moments in bfloat16 for bfloat16 parameters | float32, rounded once at the end |
| a wrong tree fails somewhere inside | an error that names the leaf's path and the cure |
| clip and AdamW: 60 bytes for each parameter | 44: [what it costs](../choose/cost.md) |
| `optax.contrib`, `optax.losses`, ... | one roof: `gradx.muon`, `gradx.losses` |
"""
TORCH = """\
# Coming from PyTorch

In PyTorch an optimizer holds the parameters and changes them. Here it is a value that turns a gradient into an update;
parameters and state are yours, go in and come out.

=== "PyTorch"

    ```{ .python .no-run }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    ```

=== "gradx and nnx"

    ```python
    import jax
    import jax.numpy as jnp
    from flax import nnx

    import gradx

    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(1e-3, weight_decay=0.01))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)


    @nnx.jit
    def step(model, optimizer, x, y):
        loss, grads = nnx.value_and_grad(lambda model: gradx.losses.squared_error(model(x), y).mean())(model)
        optimizer.update(model, grads)
        return loss


    x = jax.random.normal(jax.random.key(0), (32, 4))
    for _ in range(3):
        print(f"loss {step(model, optimizer, x, x.sum(1, keepdims=True)):.4f}")
    ```

"Same numbers" says that a test of the suite compares the two step by step, from what PyTorch answered.
"""
SCHEDULERS = """\
A scheduler is a function of the step, and stands where the learning rate is: `gradx.sgd(schedule)`. PyTorch's multiply
the optimizer's rate, 0.1 here; ours say it."""
SAME = """\
"Same": same arguments, defaults, state fields and, within float32 rounding, results. Wherever parameters are bfloat16
or float16, states are float32 here."""
KERAS = """\
# Coming from Keras

`model.compile(optimizer=..., loss=...)` and `fit` are a loop that you write here, in ten lines
([a tour](../start/tour.md)); the optimizer is one call. Epsilons are 1e-7 in Keras and 1e-8 here.
"""


def pages() -> dict[str, str | bytes]:
    """Return the three pages."""
    return {"coming-from/optax.md": optax(), "coming-from/torch.md": torch(), "coming-from/keras.md": keras()}


def optax() -> str:
    """Return every name of Optax with what it gets here."""
    from gradx.compat import check
    from gradx.compat.differences import LEFT_OUT

    lines, counts = [], {"same": 0, "better": 0, "left out": 0}
    for module in check.MODULES:
        space = vars(importlib.import_module(f"gradx.compat.{module}"))
        rows = []
        for name in sorted(x for x in space if not x.startswith("_") and not isinstance(space[x], ModuleType)):
            verdict = check.verdict(f"{module}.{name}")
            counts[verdict.partition(":")[0]] += 1
            rows.append(f"| `{module}.{name}` | {in_cell(verdict)} | {_own(module, name)} |")
        lines += [
            f"### {module}",
            "",
            "| name | under `gradx.compat.optax` | in gradx |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    counts["left out"] = len(LEFT_OUT)
    said = [
        f"{number} names are {what}"
        if what != "left out"
        else f"{number or 'none'} {'is' if number == 1 else 'are'} left out"
        for what, number in counts.items()
    ]
    top = ["## Every name", "", f"{', '.join(said)}. {SAME}", ""]
    if LEFT_OUT:
        top += [
            "| left out | why |",
            "| --- | --- |",
            *(f"| `{name}` | {in_cell(why)} |" for name, why in sorted(LEFT_OUT.items())),
            "",
        ]
    return "\n".join([OPTAX, *top, *lines])


def _own(module: str, name: str) -> str:
    from gradx.unknown import ELSEWHERE

    space = module.removeprefix("optax").strip(".")
    for dotted in (
        f"gradx.{space}.{name}" if space else "",
        f"gradx.{name}",
        f"gradx.losses.{name}",
        f"gradx.tree.{name.removeprefix('tree_')}",
    ):
        if dotted in names.public():
            found = names.public()[dotted]
            return f"[`{found.dotted}`](../{found.url})"
    if name in ELSEWHERE:
        known = names.find(ELSEWHERE[name].partition(",")[0])
        return f"[`{known.dotted}`](../{known.page}.md)" if known else escaped(ELSEWHERE[name])
    return ""


def _table(many: list[Peer], there: str) -> list[str]:
    lines = [f"| {there} | gradx | |", "| --- | --- | --- |"]
    lines += [
        f"| `{_code(peer.theirs)}` | {f'`{_code(peer.ours)}`' if peer.ours else ''} | {peer.note} |" for peer in many
    ]
    return [*lines, ""]


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def torch() -> str:
    """Return every optimizer and scheduler of torch.optim with the code beside it."""
    lines = [TORCH, "## Optimizers", "", *_table(peers.TORCH_OPTIMIZERS, "torch.optim")]
    lines += ["## Schedulers", "", SCHEDULERS, ""]
    lines += [*_table(peers.TORCH_SCHEDULERS, "torch.optim.lr_scheduler"), "## The rest of the loop", ""]
    return "\n".join(lines + _table(peers.TORCH_OTHERS, "PyTorch"))


def keras() -> str:
    """Return every optimizer and schedule of Keras with the code beside it."""
    lines = [KERAS, "## Optimizers", "", *_table(peers.KERAS_OPTIMIZERS, "keras.optimizers")]
    lines += [
        "## Schedules",
        "",
        *_table(peers.KERAS_SCHEDULES, "keras.optimizers.schedules"),
        "## Arguments of every optimizer",
        "",
    ]
    return "\n".join(lines + _table(peers.KERAS_OTHERS, "Keras"))
