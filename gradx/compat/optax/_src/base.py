"""`optax._src.base`, by gradx."""

from gradx import (
    EmptyState as EmptyState,
    Params as Params,
    ScalarOrSchedule as ScalarOrSchedule,
    Schedule as Schedule,
    Updates as Updates,
)
from gradx.compat.like_optax.base import (
    NO_PARAMS_MSG as NO_PARAMS_MSG,
    ArrayTree as ArrayTree,
    GradientTransformation as GradientTransformation,
    GradientTransformationExtraArgs as GradientTransformationExtraArgs,
    MaskOrFn as MaskOrFn,
    OptState as OptState,
    PRNGKey as PRNGKey,
    PyTree as PyTree,
    ScheduleState as ScheduleState,
    Shape as Shape,
    StatefulSchedule as StatefulSchedule,
    TransformInitFn as TransformInitFn,
    TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn,
    TransformUpdateFn as TransformUpdateFn,
    init_empty_state as init_empty_state,
    with_extra_args_support as with_extra_args_support,
)
from gradx.compat.like_optax.factories import identity as identity, set_to_zero as set_to_zero, stateless as stateless
from gradx.compat.like_optax.recipes import stateless_with_tree_map as stateless_with_tree_map
