"""Commands that judge and run what was fitted to data sets of flows; each has a module of its own."""

from closura.commands.flow_closures import ClosureOptions as ClosureOptions
from closura.commands.flow_closures import FilterOptions as FilterOptions
from closura.commands.flow_closures import run_evaluate_closure as run_evaluate_closure
from closura.commands.flow_inputs import one_each as one_each
from closura.commands.flow_models import ModelOptions as ModelOptions
from closura.commands.flow_models import run_evaluate_model as run_evaluate_model
from closura.commands.flow_rollouts import RolloutOptions as RolloutOptions
from closura.commands.flow_rollouts import run_rollout as run_rollout
