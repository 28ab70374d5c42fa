"""Several devices for the sharding tests, before jax starts."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
