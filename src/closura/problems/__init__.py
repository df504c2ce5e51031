"""Problems: a coarse solver that asks, something to trust, and where simulations begin."""

from closura.problems.advection import AdvectionDynamics as AdvectionDynamics
from closura.problems.advection import AdvectionSolver as AdvectionSolver
from closura.problems.advection import AdvectionTarget as AdvectionTarget
from closura.problems.advection_setup import AdvectionConfiguration as AdvectionConfiguration
from closura.problems.advection_setup import advection as advection
from closura.problems.problem import Ask as Ask
from closura.problems.problem import Begin as Begin
from closura.problems.problem import Beginning as Beginning
from closura.problems.problem import Draw as Draw
from closura.problems.problem import Dynamics as Dynamics
from closura.problems.problem import EpisodeRules as EpisodeRules
from closura.problems.problem import FixedBegin as FixedBegin
from closura.problems.problem import Problem as Problem
from closura.problems.problem import SimulatedBegin as SimulatedBegin
from closura.problems.problem import SquaredErrorReduction as SquaredErrorReduction
from closura.problems.problem import Target as Target
from closura.problems.problem import Transition as Transition
from closura.problems.problem import relative_mae as relative_mae
from closura.problems.stored import TruthStore as TruthStore
from closura.problems.stored import simulate_truth as simulate_truth
from closura.problems.stored import with_store as with_store
