"""What trains for many steps is worth optimizing."""

import jax
import pytest


@pytest.fixture(autouse=True)
def optimized_programs():
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
