r"""Ensemble Kalman inversion: no gradient of anything, only forward simulations.

An ensemble of weight vectors theta_j replaces the derivative of the forward map by its covariance with the weights. In
each update every member runs the same random cases (mini-batches), which gives weighted differences d_j between what is
observed of its simulations and what should be. With the centred ensembles T of the weights and U of the differences,
both divided by sqrt(J - 1), the Kalman step of size h = 1 / alpha is

    theta_j <- theta_j - T^T (U U^T + alpha I)^{-1} U (d_j - sqrt(alpha) xi_j)            "perturbed"

with a draw xi_j of the noise; or "transform", the deterministic square-root form, of the mean with xi = 0 and of the
anomalies with T <- (I + U U^T / alpha)^{-1/2} T. All of it is J x J: no matrix has the size of the weights or of the
observations squared.

* **Observed**: differences between the states at the end of the window and the reference, at every ``stride``-th cell,
  in units of ``noise`` times the size of the reference; or statistics alone, averaged over batch and window.
* **Step**: h = min(1, max(M / (2 mean Phi), sqrt(M / (2 var Phi)))), Phi_j = |d_j|^2 / 2 and M the number of
  observations: the misfit controller of Iglesias and Yang, but for the end of pseudo-time, which fresh cases move on.
* **Spread**: without noise an ensemble stays in the span of its first draw and collapses. ``jitter`` draws new
  directions at every update; ``inflation`` enlarges the old ones.
* **Tikhonov**: with ``regularisation`` the prior is observed too (Chada, Stuart and Tong), in ensemble space as well.
* **Failures**: members whose simulations are not finite, or far off, are drawn anew from the Gaussian of the others.

Sources: Iglesias, Law and Stuart, "Ensemble Kalman methods for inverse problems" (2013), Inverse Problems 29; Kovachki
and Stuart, "Ensemble Kalman inversion: a derivative-free technique for machine learning tasks" (2019), Inverse Problems
35; Chada, Stuart and Tong, "Tikhonov regularization within ensemble Kalman inversion" (2020), SIAM J. Numer. Anal. 58;
Iglesias and Yang, "Adaptive regularisation for ensemble Kalman inversion" (2021), Inverse Problems 37.
"""

import functools
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.closures._members import by_groups
from closura.closures.convolution import uses_blocks
from closura.core.citations import EKI as SOURCE
from closura.core.solver import Closure
from closura.environment import Environment, EnvironmentState
from closura.learners.state import Learner, LearnerState, Metrics, learner, next_state
from closura.problems.problem import Field, Problem
from closura.problems.statistics import OfStatistics, Statistics, Values, check_statistics, statistics_of
from closura.settings import Count, Decay, Natural, NotNegative, Positive, Range

Ensemble = Float[Array, "member weight"]


@dataclass(frozen=True)
class EKIConfiguration(OfStatistics):
    """Settings of ensemble Kalman inversion.

    Parameters
    ----------
    updates
        Number of updates.
    members
        Size of the ensemble: closures that run in each update.
    batch
        Simulations of each member.
    horizon
        Steps of each simulation.
    early
        Simulations begin at a share r^early of a stored one, r uniform: above one favours early times.
    spread
        Standard deviation of the first ensemble around the untrained closure, in each weight.
    noise
        Standard deviation of the observations' noise, in units of the reference's size (statistics: of its spread).
    form
        "transform" (deterministic) or "perturbed" (observations with random noise).
    step
        Size of the Kalman step; 0 adapts it to the misfit.
    jitter
        Standard deviation of what is added to each weight of each member after an update, in units of spread.
    inflation
        The ensemble's distances from its mean grow by this share after an update.
    regularisation
        Weight of the prior among the observations; 0 leaves it out.
    limit
        Simulations that end further from the reference than so many times its size are lost, as those that are not
        finite.
    stride
        States are observed at every so many cells along each axis.
    at_once
        Members that run side by side; the others wait. 0: one on a processor, all on a GPU, and as many as keep a
        solver outside JAX busy.
    average
        Decay of the moving average of the ensemble's mean, which is what is validated and kept.
    """

    updates: Count = 300
    members: Annotated[int, Range(2, 2**20, words="be at least 2")] = 32
    batch: Count = 4
    horizon: Count = 16
    early: Positive = 1.0
    spread: Positive = 0.1
    noise: Positive = 0.01
    form: Literal["transform", "perturbed"] = "transform"
    step: NotNegative = 0.0
    jitter: NotNegative = 0.1
    inflation: NotNegative = 0.0
    regularisation: NotNegative = 0.0
    limit: Positive = 10.0
    stride: Count = 1
    at_once: Natural = 0
    average: Decay = 0.9


class _Carry(NamedTuple):
    """The ensemble, and the mean of its prior."""

    ensemble: Ensemble
    prior: Float[Array, " weight"]


class _Observed(NamedTuple):
    """Of each case: what its end is away from the reference, its statistics in the mean over the window, its error."""

    difference: Array
    values: Values
    error: Float[Array, "*cases"]


@learner("eki", settings=EKIConfiguration, sources=[SOURCE])
class EKI(Learner):
    """Ensemble Kalman inversion: forward simulations of an ensemble of small closures, without gradients."""

    advice = "a smaller --learning.spread or shorter --learning.horizon"
    configuration: EKIConfiguration = eqx.field(static=True)

    @classmethod
    def check(cls, training: Any, *, follows_state: bool) -> None:
        """Statistics need a reference of their own."""
        check_statistics(training.learning, follows_state=follows_state)

    def stages(self) -> tuple[int, ...]:
        """One stage."""
        return (self.configuration.updates,)

    def optimiser(self) -> optax.GradientTransformation:
        """None: updates are Kalman steps."""
        return optax.identity()

    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """Nothing: :meth:`init` draws the ensemble, which needs the closure."""
        return None

    def init(self, problem: Problem, closure: PyTree[Array], *, key: Key[Scalar, ""]) -> LearnerState:
        """The state before the first update, with the ensemble around the closure's weights."""
        c, (draw_key, key) = self.configuration, jax.random.split(key)
        prior, _ = ravel_pytree(eqx.filter(closure, eqx.is_inexact_array))
        drawn = jax.random.normal(draw_key, (c.members, prior.size), prior.dtype)
        drawn = c.spread * (drawn - jnp.mean(drawn, axis=0))  # the closure itself is the mean
        return replace(super().init(problem, closure, key=key), carry=_Carry(prior + drawn, prior))

    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """The cases of a batch, run by every member, and a Kalman step."""
        c = self.configuration
        key, case_key, noise_key, draw_key = jax.random.split(jax.random.wrap_key_data(state.key_data), 4)
        weights, static = eqx.partition(state.closure, eqx.is_inexact_array)
        _, unravel = ravel_pytree(weights)
        ensemble, prior = state.carry
        episodes = Environment(problem).reset_batch_anywhere(c.batch, c.horizon, early=c.early, key=case_key)
        statistics = statistics_of(problem, c.statistics) if c.statistics else None
        asked = problem.coarse.side_by_side
        ends, targets = jax.lax.map(lambda e: _reference(problem, e, c.horizon, statistics), episodes)

        def run(member: Float[Array, " weight"]) -> _Observed:
            closure = problem.spec.limit(eqx.combine(unravel(member), static))
            one = lambda case: _observed(problem, closure, case[0], case[1], statistics, c)
            cases = (episodes, ends)
            # Solvers outside JAX take whole batches.
            return jax.vmap(one)(cases) if asked > 1 else by_groups(one, cases, problem.grid.size)

        found: _Observed = jax.lax.map(run, ensemble, batch_size=_at_once(problem, c))
        found = found._replace(difference=found.difference / _sizes(episodes.state))
        off = jnp.sqrt(jnp.mean(jnp.square(found.difference), axis=tuple(range(2, found.difference.ndim))))
        known = [jnp.all(jnp.isfinite(v), axis=2) for v in found.values]
        fine = functools.reduce(jnp.logical_and, known, off < c.limit)
        used = jnp.mean(fine, axis=0) >= 0.5  # cases that most members cannot run say nothing about members
        whole = jnp.all(fine | ~used, axis=1) & jnp.any(used)
        learned = jnp.sum(whole) >= 2
        misfits, count = _misfits(found, targets, statistics, whole, used)
        misfits, count = misfits.astype(ensemble.dtype) / c.noise, count.astype(ensemble.dtype)
        moved, step = kalman(ensemble, misfits, whole, prior, count, c, key=noise_key)
        moved = jnp.where(learned, spread_out(moved, whole, c, key=draw_key), ensemble)
        centre = jnp.mean(moved, axis=0)
        metrics = {
            "loss": c.noise**2 * jnp.sum(jnp.square(misfits)) / (count * jnp.maximum(jnp.sum(whole), 1)),
            "error": jnp.sum(jnp.where(fine, found.error, 0)) / jnp.maximum(jnp.sum(fine), 1),
            "spread": jnp.sqrt(jnp.mean(jnp.var(moved, axis=0))) / c.spread,
            "step": jnp.where(learned, step, 0),
            "left_out": jnp.where(learned, 1 - jnp.mean(fine.astype(jnp.float32)), 1),
            "redrawn": 1 - jnp.mean(whole.astype(jnp.float32)),
        }
        metrics = {name: value.astype(jnp.float32) for name, value in metrics.items()}
        closure, made = eqx.combine(unravel(centre), static), c.members * c.batch * c.horizon
        carry = _Carry(moved, prior)
        following = next_state(
            state, closure, state.optimiser, carry, decay=c.average, transitions=made, key=key
        )  # fmt: skip
        return following, metrics


def _reference(
    problem: Problem, episode: EnvironmentState, horizon: int, statistics: Statistics | None
) -> tuple[Field, Values]:
    """The reference at the end of a window, and its statistics in the mean over the window.

    Where it follows the state, this is no more than where it begins.
    """
    dt = problem.dt_of(episode.parameters)

    def step(reference: PyTree[Array], _: None) -> tuple[PyTree[Array], Values]:
        reference = problem.reference.advance(reference, episode.state, episode.parameters, dt)
        return reference, statistics.values(problem.reference.field(reference)) if statistics else ()

    steps = 0 if problem.reference.follows_state else horizon
    reference, values = jax.lax.scan(step, episode.reference, None, length=steps)
    field = problem.reference.field(reference).astype(episode.state.dtype)
    return field, tuple(jnp.mean(v, axis=0) for v in values)


def _observed(
    problem: Problem,
    closure: Closure | None,
    episode: EnvironmentState,
    end: Field,
    statistics: Statistics | None,
    c: EKIConfiguration,
) -> _Observed:
    """What a closure's simulation of a case shows."""
    beside, dt = problem.reference, problem.dt_of(episode.parameters)

    def step(carry: tuple[Field, PyTree[Array]], _: None) -> tuple[tuple[Field, PyTree[Array]], Values]:
        state, reference = carry
        if beside.follows_state:
            state, _, reference = beside.advance_beside(
                reference, problem.coarse, state, episode.parameters, dt, closure
            )
        else:
            state, _ = problem.coarse.corrected_step(state, episode.parameters, dt, closure)
        return (state, reference), statistics.values(state) if statistics else ()

    (last, reference), values = jax.lax.scan(step, (episode.state, episode.reference), None, length=c.horizon)
    if beside.follows_state:
        end = beside.field(reference).astype(last.dtype)
    thinned = (slice(None), *(slice(None, None, c.stride),) * problem.grid.dimensions)
    difference = (last - end)[thinned]
    return _Observed(difference, tuple(jnp.mean(v, axis=0) for v in values), problem.error(last, end))


def _at_once(problem: Problem, c: EKIConfiguration) -> int:
    """How many members run side by side."""
    asked = problem.coarse.side_by_side
    usual = -(-asked // c.batch) if asked > 1 else (1 if uses_blocks() else c.members)
    return min(c.at_once or usual, c.members)


def _sizes(states: Float[Array, "case component *grid"]) -> Float[Array, "component *ones"]:
    """Root mean square of each component, at least a thousandth of the largest: a unit of differences."""
    found = jnp.sqrt(jnp.mean(jnp.square(states), axis=(0, *range(2, states.ndim)), keepdims=True))[0]
    return jnp.maximum(found, 1e-3 * jnp.max(found) + jnp.finfo(found.dtype).tiny)


def _misfits(
    found: _Observed,
    targets: Values,
    statistics: Statistics | None,
    whole: Bool[Array, " member"],
    used: Bool[Array, " case"],
) -> tuple[Float[Array, "member observation"], Array]:
    """Differences of each member that is whole from what is wanted, over the cases that are used; and their number."""
    counts = whole[:, None] & used
    if statistics is None:
        misfits = _where(counts, found.difference)
        return misfits.reshape(len(whole), -1), jnp.sum(used) * misfits[0, 0].size
    share = used / jnp.maximum(jnp.sum(used), 1)
    mean = lambda values: tuple(jnp.tensordot(share.astype(v.dtype), v, (0, 0)) for v in values)
    target = statistics.scores(mean([_where(used, v) for v in targets]))
    score = lambda values: statistics.differences(statistics.scores(mean(values)), target)
    misfits = _where(whole, jax.vmap(score)(tuple(_where(counts, v) for v in found.values)))
    return misfits, jnp.asarray(target.size)


def kalman(
    ensemble: Ensemble,
    misfits: Float[Array, "member observation"],
    whole: Bool[Array, " member"],
    prior: Float[Array, " weight"],
    count: Float[Array, ""],
    c: EKIConfiguration,
    *,
    key: Key[Scalar, ""],
) -> tuple[Ensemble, Float[Array, ""]]:
    """The Kalman step of the members that are whole, and its size.

    ``misfits`` are in units of the noise, zero for other members; ``count`` is how many of them count.
    """
    members = jnp.sum(whole).astype(ensemble.dtype)
    root = jnp.sqrt(jnp.maximum(members - 1, 1))
    centred = lambda x: _where(whole, x - jnp.sum(_where(whole, x), axis=0) / jnp.maximum(members, 1)) / root
    size = jnp.sum(jnp.square(misfits), axis=1) / 2
    mean = jnp.sum(size) / jnp.maximum(members, 1)
    variance = jnp.sum(jnp.square(_where(whole, size - mean))) / jnp.maximum(members, 1)
    tiny = jnp.finfo(ensemble.dtype).tiny
    adapted = jnp.maximum(count / (2 * mean + tiny), jnp.sqrt(count / (2 * variance + tiny)))
    step = jnp.minimum(adapted, 1.0) if c.step == 0 else jnp.asarray(c.step, ensemble.dtype)
    # The prior is observed beside the simulations: sqrt(regularisation) (theta - prior) / spread.
    off = _where(whole, ensemble - prior) * (c.regularisation**0.5 / c.spread)
    observed = jnp.concatenate([misfits, off], axis=1) if c.regularisation else misfits
    T, U = centred(ensemble), centred(observed)
    covariance, identity = U @ U.T, jnp.eye(len(U), dtype=U.dtype)
    if c.form == "perturbed":
        noise = jax.random.normal(key, observed.shape, observed.dtype) / jnp.sqrt(step)
        weights = jnp.linalg.solve(covariance + identity / step, U @ (observed - noise).T)
        return ensemble - weights.T @ T, step
    centre = [jnp.sum(_where(whole, x), axis=0) / jnp.maximum(members, 1) for x in (ensemble, observed)]
    weights = jnp.linalg.solve(covariance + identity / step, U @ centre[1])
    values, vectors = jnp.linalg.eigh(covariance)
    shrunk = vectors / jnp.sqrt(1 + step * jnp.maximum(values, 0)) @ vectors.T
    return centre[0] - weights @ T + root * shrunk @ T, step


def spread_out(
    ensemble: Ensemble, whole: Bool[Array, " member"], c: EKIConfiguration, *, key: Key[Scalar, ""]
) -> Ensemble:
    """Members that are not whole are drawn from the Gaussian of the others; inflation and jitter; the mean stays."""
    draw_key, jitter_key = jax.random.split(key)
    count = jnp.maximum(jnp.sum(whole), 2).astype(ensemble.dtype)
    centre = jnp.sum(_where(whole, ensemble), axis=0) / count
    anomalies = _where(whole, ensemble - centre)
    drawn = jax.random.normal(draw_key, (len(whole), len(whole)), ensemble.dtype) @ anomalies / jnp.sqrt(count - 1)
    jitter = c.jitter * c.spread * jax.random.normal(jitter_key, ensemble.shape, ensemble.dtype)
    moved = (1 + c.inflation) * jnp.where(whole[:, None], anomalies, drawn) + jitter
    return centre + moved - jnp.mean(moved, axis=0)


def _where(mask: Bool[Array, "*some"], x: Array) -> Array:
    """Zero where the mask, of the first axes, is not set."""
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), x, 0)
