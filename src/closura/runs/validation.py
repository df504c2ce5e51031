"""How checkpoints are evaluated: by the error against a stored reference, or by rewards where it follows the closure.

The first is for simulations that are neither in training nor in the test set. The second is the published selection
of agents that weigh stencils: minus the sum over time of the reward, averaged over agents and initial conditions,
which are the problem's own.

Closures with memory or noise are run as ensembles: the mean fair CRPS over all steps counts (of a single member and
without spread it is the mean absolute error).
"""

import math
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.core.memory import Carried, remembers
from closura.core.solver import Closure, Solver
from closura.environment import Environment, EnvironmentState
from closura.learners.ensembles import Members, fair_crps
from closura.problems import Problem, ReferenceStore, simulate_reference
from closura.problems.statistics import Statistics, Values, statistics_of
from closura.problems.stored import StoredBegin, StoredReference, check_reference


@eqx.filter_jit
def rollout(
    problem: Problem, solver: Solver, closure: Closure | None, store: ReferenceStore
) -> Float[Array, "simulation times component *grid"]:
    """Run a method over stored simulations; states of ``solver`` at every coarse step, the first included.

    The store's fields are those of the problem's coarse solver: initial states are taken over from it. Actions are
    taken as they are (:meth:`~closura.ClosureSpec.limit`).
    """

    def one(store: ReferenceStore) -> Array:
        dt = problem.dt_of(store.parameters)

        def step(state: Array, _: None) -> tuple[Array, Array]:
            following = solver.step(state, store.parameters, dt, closure)
            return following, following

        begun: Array = solver.adopt(store.state, problem.coarse)
        states = jax.lax.scan(step, begun, None, length=store.reference.shape[0] - 1)[1]
        return jnp.concatenate([begun[None], states])

    together = solver.side_by_side if solver.side_by_side > 1 else None
    found: Array = jax.lax.map(one, store, batch_size=together)
    return found


MEMBERS = 10
"""Members of a simulation whose closure draws random numbers."""


@eqx.filter_jit
def ensembles(
    problem: Problem, closure: Closure, store: ReferenceStore, members: int = MEMBERS
) -> Float[Array, "simulation times member component *grid"]:
    """States of the members of stored simulations at every coarse step, the first included."""
    every = Members(problem.coarse, closure, members)

    def one(pair: tuple[Array, ReferenceStore]) -> Array:
        number, stored = pair
        dt = problem.dt_of(stored.parameters)
        key = jax.random.key_data(jax.random.fold_in(jax.random.key(0), number))
        zero = jnp.zeros((), jnp.int32)
        begun = every.start(EnvironmentState(stored.state, stored.parameters, None, zero, stored.quantities, key))

        def step(now: Carried, _: None) -> tuple[Carried, Any]:
            following = every.follow(now, stored.parameters, dt)
            return following, following.state

        states = jax.lax.scan(step, begun, None, length=store.steps)[1]
        first: Any = begun.state
        return jnp.concatenate([first[None], states])

    found: Array = jax.lax.map(one, (jnp.arange(store.slots), store), batch_size=32)
    return found


GROWTH = 1e6
"""A reference is refused that leaves so many times the range of its initial values."""


class RewardedSimulations(eqx.Module):
    """Initial conditions ``(simulation, ...)`` and the number of steps that are rewarded."""

    episodes: EnvironmentState
    steps: int = eqx.field(static=True)


class ComparedStatistics(eqx.Module):
    """Simulations whose statistics are compared with the reference's, in the mean over all of them and all steps."""

    store: ReferenceStore
    statistics: Statistics
    target: Float[Array, "*value"]

    def values(self, states: Float[Array, "simulation times component *grid"]) -> Values:
        """Means over simulations and times but the first."""
        each = jax.lax.map(jax.vmap(self.statistics.values), states[:, 1:])
        return tuple(jnp.mean(v, axis=(0, 1)) for v in each)


Validation = ReferenceStore | RewardedSimulations | ComparedStatistics


def prepare_validation(
    problem: Problem, simulations: int, steps: int, *, statistics: tuple[str, ...] = (), key: Key[Scalar, ""]
) -> Validation:
    """Simulate the reference, or only draw initial conditions where it follows the closure.

    ``statistics`` names those that count instead of the error.
    """
    if problem.reference.follows_state:
        return RewardedSimulations(Environment(problem).reset_batch(simulations, key=key), steps)
    store = simulate_reference(problem, simulations, steps, key=key)
    check_learned_reference(problem, store)
    if not statistics:
        return store
    stored = replace(problem, begin=StoredBegin(store), reference=StoredReference(store.reference))
    found = ComparedStatistics(store, statistics_of(stored, statistics), jnp.zeros(()))
    return replace(found, target=found.statistics.scores(found.values(store.reference)))


def check_learned_reference(problem: Problem, store: ReferenceStore) -> None:
    """Refuse a reference that diverges or grows without bound."""
    check_reference(problem, store, GROWTH, "nothing can be learned from it", rest=math.inf)


@eqx.filter_jit
def validation_error(problem: Problem, closure: PyTree[Array] | None, validation: Validation) -> Float[Array, ""]:
    """What is to be small: typical error at the last stored step, CRPS, minus the sum of rewards, or a distance.

    Not finite if one simulation is lost. How several errors make one is the problem's (``typical``).
    """
    if isinstance(validation, RewardedSimulations):
        each = -summed_rewards(problem, closure, validation)
        return jnp.where(jnp.all(jnp.isfinite(each)), jnp.mean(each), jnp.inf)
    store = validation.store if isinstance(validation, ComparedStatistics) else validation
    if remembers(closure):
        return _distribution(problem, closure, store, validation)
    states = rollout(problem, problem.coarse, problem.spec.limit(closure), store)
    if isinstance(validation, ComparedStatistics):
        distance = validation.statistics.distance(validation.values(states), validation.target)
        return jnp.where(jnp.isfinite(distance), distance, jnp.inf)
    last = jax.vmap(problem.error)(states[:, -1], store.reference[:, -1])
    if problem.aggregate == "geometric":
        aggregate = jnp.exp(jnp.mean(jnp.log(jnp.maximum(last, jnp.finfo(last.dtype).tiny))))
    else:
        aggregate = jnp.mean(last) if problem.aggregate == "mean" else jnp.median(last)
    return jnp.where(jnp.all(jnp.isfinite(last)), aggregate, jnp.inf)


def _distribution(
    problem: Problem, closure: PyTree[Array], store: ReferenceStore, validation: Validation
) -> Float[Array, ""]:
    """The mean fair CRPS over all steps of ensembles, or the distance of the statistics of their members."""
    limited: Any = problem.spec.limit(closure)
    states = ensembles(problem, limited, store)
    if isinstance(validation, ComparedStatistics):
        many = jnp.moveaxis(states, 2, 1).reshape(-1, *states.shape[1:2], *states.shape[3:])
        value = validation.statistics.distance(validation.values(many), validation.target)
    else:
        value = jnp.mean(jax.vmap(jax.vmap(fair_crps))(states[:, 1:], store.reference[:, 1:]))
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def summed_rewards(
    problem: Problem, closure: PyTree[Array] | None, validation: RewardedSimulations
) -> Float[Array, " simulation"]:
    """Sum over time of the mean reward of all agents, for each simulation."""
    environment = Environment(problem)

    def one(episode: EnvironmentState) -> Float[Array, ""]:
        def step(episode: EnvironmentState, _: None) -> tuple[EnvironmentState, Float[Array, ""]]:
            following, timestep = environment.step_asking(episode, closure)
            return following, jnp.mean(timestep.reward)

        return jnp.sum(jax.lax.scan(step, episode, None, length=validation.steps)[1])

    return jax.vmap(one)(validation.episodes)


def in_words(problem: Problem, validation: Validation, value: float) -> str:
    """A validation error as a person reads it: a reward, a share in percent, or the error as it is."""
    if isinstance(validation, RewardedSimulations):
        return f"reward {-value:.4g}"
    if isinstance(validation, ComparedStatistics):
        return f"distance {value:.4g} of {', '.join(kind.name for kind in validation.statistics.kinds)}"
    middle = {"mean": "", "median": " (median)", "geometric": " (geometric mean)"}[problem.aggregate]
    return f"error {100 * value:.3g} %{middle}" if problem.percent else f"error {value:.4g}{middle}"
