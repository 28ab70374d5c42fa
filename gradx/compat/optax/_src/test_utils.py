"""Assertions on trees, by NumPy."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


def assert_trees_all_close(
    actual: Any, desired: Any, rtol: float = 1e-6, atol: float = 0.0, err_msg: Any = None
) -> None:
    """Raise AssertionError unless two trees hold nearly the same numbers."""
    _each(lambda x, y: np.testing.assert_allclose(x, y, rtol, atol, err_msg=err_msg or ""), actual, desired)


def assert_trees_all_equal(actual: Any, desired: Any, err_msg: Any = None) -> None:
    """Raise AssertionError unless two trees hold the same numbers."""
    _each(lambda x, y: np.testing.assert_array_equal(x, y, err_msg=err_msg or ""), actual, desired)


def assert_trees_all_equal_structs(actual: Any, desired: Any) -> None:
    """Raise AssertionError unless two trees have one structure."""
    assert jax.tree.structure(actual) == jax.tree.structure(desired)


def assert_tree_all_finite(actual: Any, err_msg: Any = None) -> None:
    """Raise AssertionError if an entry is NaN or infinite."""
    assert all(bool(np.all(np.isfinite(x))) for x in jax.tree.leaves(actual)), err_msg


def assert_trees_all_equal_shapes(actual: Any, desired: Any, err_msg: Any = None) -> None:
    """Raise AssertionError unless the leaves have the same shapes."""
    _each(lambda x, y: np.testing.assert_equal(np.shape(x), np.shape(y), err_msg=err_msg or ""), actual, desired)


def assert_trees_all_equal_dtypes(actual: Any, desired: Any, err_msg: Any = None) -> None:
    """Raise AssertionError unless the leaves have the same dtypes."""
    _each(lambda x, y: np.testing.assert_equal(x.dtype, y.dtype, err_msg=err_msg or ""), actual, desired)


@contextlib.contextmanager
def log_compilations() -> Iterator[list]:
    """Gather the messages that jax logs when it compiles."""
    records: list = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record) if "Finished XLA compilation" in record.getMessage() else None
    logger = logging.getLogger("jax")
    with jax.log_compiles():
        logger.addHandler(handler)
        try:
            yield records
        finally:
            logger.removeHandler(handler)


def _each(compare: Any, actual: Any, desired: Any) -> None:
    assert_trees_all_equal_structs(actual, desired)
    jax.tree.map(compare, actual, desired)
