"""`optax.contrib._privacy`, by gradx."""

from gradx import DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState
from gradx.compat.like_optax.factories import differentially_private_aggregate as differentially_private_aggregate
from gradx.compat.like_optax.later import dpsgd as dpsgd
