"""`optax.contrib._schedule_free`, by gradx."""

from gradx import ScheduleFreeState as ScheduleFreeState, schedule_free_eval_params as schedule_free_eval_params
from gradx.compat.like_optax.factories import schedule_free as schedule_free, schedule_free_sgd as schedule_free_sgd
from gradx.compat.like_optax.later import schedule_free_adamw as schedule_free_adamw
