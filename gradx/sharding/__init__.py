"""Past one device: how the state of any transformation is laid out over a mesh, and what a step communicates.

gradx says where arrays lie; JAX moves them. `state_shardings` gives the sharding of every leaf of a state, `init` makes
it there; `zero1` splits state and work over the devices of data parallelism; `data_parallel` and `no_sync` say when
gradients are summed over them; `offload` keeps a state in the host's memory.

>>> import gradx, jax, jax.numpy as jnp
>>> mesh = jax.make_mesh((1,), ("data",))
>>> state = gradx.sharding.init(gradx.adamw(1e-3), {"kernel": jnp.ones((4, 2))}, mesh, "zero1")
>>> state[0].nu["kernel"].sharding.spec
P('data', None)
"""

from gradx.glossary import document_all
from gradx.sharding.accumulation import no_sync
from gradx.sharding.gradients import data_parallel
from gradx.sharding.layout import describe_shardings, init, state_shardings
from gradx.sharding.offload import offload
from gradx.sharding.zero import zero1

__all__ = ["data_parallel", "describe_shardings", "init", "no_sync", "offload", "state_shardings", "zero1"]

__dir__ = document_all(globals(), __all__)
