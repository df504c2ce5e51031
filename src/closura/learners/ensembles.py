r"""Ensembles in the loop: rollouts of several members with their own random numbers, and scores of their distribution.

Members begin from one state and differ by what their closures draw. Of M members x_i and the reference y

    fair CRPS      1/M sum_i |x_i - y| - 1/(2 M (M - 1)) sum_ij |x_i - x_j|, in the mean over components and cells,
    energy score   the same with Euclidean norms over all components and cells, over the root of their number.

Both are unbiased by M: their mean is least for members that are drawn from the distribution of the reference, so that a
spread costs what it is not worth, and its lack too. The energy score sees how cells go together, the CRPS does not.

Sources: Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102, 359, equations 20 to 22; Ferro (2014), Q. J. R. Meteorol.
Soc. 140, 1917 (fair scores).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from closura.core.memory import Carried, WithMemory, remembers
from closura.environment import EnvironmentState
from closura.problems.problem import Problem
from closura.problems.statistics import Statistics, Values

Score = Literal["crps", "energy"]
SCORES: tuple[Score, ...] = ("crps", "energy")
"""Losses of ensembles."""

SMALLEST_SQUARE = 1e-12
"""Added to squares below a root, whose derivative has no limit at zero."""


def fair_crps(members: Float[Array, "member *shape"], reference: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Mean over all points of the fair CRPS; of one member the mean absolute error."""
    count = members.shape[0]
    distance = jnp.mean(jnp.abs(members - reference))
    if count == 1:
        return distance
    pairs = jnp.sum(jnp.abs(members[:, None] - members[None]), axis=(0, 1))
    return distance - jnp.mean(pairs) / (2 * count * (count - 1))


def energy_score(members: Float[Array, "member *shape"], reference: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The fair energy score, over the root of the number of points."""
    count, axes = members.shape[0], tuple(range(-reference.ndim, 0))

    def norm(x: Array) -> Array:
        return jnp.sqrt(jnp.mean(jnp.square(x), axis=axes) + SMALLEST_SQUARE)

    distance = jnp.mean(norm(members - reference))
    if count == 1:
        return distance
    apart = norm(members[:, None] - members[None]) - SMALLEST_SQUARE**0.5  # members are no distance from themselves
    return distance - jnp.sum(apart) / (2 * count * (count - 1))


def score(name: Score, members: Float[Array, "member *shape"], reference: Float[Array, "*shape"]) -> Float[Array, ""]:
    """A score by its name."""
    return {"crps": fair_crps, "energy": energy_score}[name](members, reference)


class Members(WithMemory):
    """A solver with a closure, several members at a time; the memory is None of plain closures, which are all alike."""

    count: int

    def start(self, episode: EnvironmentState) -> Carried:
        """All members in the state of an episode, each with its own random numbers of the episode's."""
        state = episode.state
        many = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.count, *x.shape)), state)
        if not remembers(self.closure):
            return Carried(many, None)
        keys = jax.random.split(jax.random.wrap_key_data(episode.memory), self.count)
        return jax.vmap(lambda s, k: self.begun(s, episode.parameters, key=k))(many, keys)

    def follow(self, members: Carried, parameters: PyTree[Array], dt: Any) -> Carried:
        """One step of all members."""
        if remembers(self.closure):
            return jax.vmap(lambda member: self.advance(member, parameters, dt))(members)
        step = lambda state: self.solver.step(state, parameters, dt, self.closure)
        return Carried(jax.vmap(step)(members.state), None)


def member_window(
    problem: Problem,
    closure: Any,
    episode: EnvironmentState,
    horizon: int,
    *,
    members: int,
    loss: str,
    statistics: Statistics | None = None,
) -> tuple[Array, Array, tuple[Values, Values], Array, EnvironmentState]:
    """Roll the members of one simulation out over ``horizon`` steps from a state of the reference.

    Returns
    -------
    The loss of every step, the mean error of the members at every step, statistics of members and reference at every
    step, whether all members are valid at the end, and where the simulation stands then: the first member.
    """  # fmt: skip
    every = Members(problem.coarse, problem.spec.limit(closure), members)
    dt = problem.dt_of(episode.parameters)
    begun = every.start(episode)

    def step(
        carry: tuple[Carried, PyTree[Array], Array], _: None
    ) -> tuple[tuple[Carried, PyTree[Array], Array], tuple[Any, ...]]:
        now, reference, runs = carry
        # As for single simulations: what has failed is held, and steps on unseen from where it began.
        known = jax.tree.map(lambda a, b: jnp.where(runs, a, b), now, begun)
        following = every.follow(known, episode.parameters, dt)
        following = jax.tree.map(lambda a, b: jnp.where(runs, a, jax.lax.stop_gradient(b)), following, now)
        reference = problem.reference.advance(reference, episode.state, episode.parameters, dt)
        field = jax.lax.stop_gradient(problem.reference.field(reference)).astype(following.state.dtype)
        errors = jax.vmap(lambda state: problem.error(state, field))(following.state)
        if loss in SCORES:
            value = score(loss, following.state, field)
        else:
            value = jnp.mean(jnp.square(following.state - field)) if loss == "mse" else jnp.mean(errors)
        seen: tuple[Any, Any] = ((), ())
        if statistics:
            each = jax.vmap(statistics.values)(following.state)
            seen = (jax.tree.map(lambda x: jnp.mean(x, axis=0), each), statistics.values(field))
        valid = jnp.all(jax.vmap(problem.coarse.is_valid)(following.state))
        return (following, reference, runs & valid), (value, jnp.mean(errors), *seen)

    remade = jax.checkpoint(step, prevent_cse=False)
    carry = (begun, episode.reference, jnp.ones((), bool))
    (last, reference, runs), (values, errors, *seen) = jax.lax.scan(remade, carry, None, length=horizon)
    state = jax.tree.map(lambda x: x[0], last.state)
    stands = EnvironmentState(state, episode.parameters, reference, episode.step + horizon, episode.quantities)
    return values, errors, (seen[0], seen[1]), runs, stands
