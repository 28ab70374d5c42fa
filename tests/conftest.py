"""Several devices for the sharding tests, and programs that are quick to compile, before jax starts."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
# Most tests run a program once: LLVM's optimizations cost more than they save. Fusions, which are counted, stay.
jax.config.update("jax_disable_most_optimizations", True)
