"""Statistics of fields that closures can be learned from and validated by, whatever the problem.

A statistic gives some numbers of a field at one time; those of several fields are averaged. Two sets of them are
compared by their distance

    D = mean over numbers of w_k (s_k - s'_k)^2 ,

s_k the number, or its logarithm where the statistic says so, and w_k one over the square of the spread that s_k has
among fields of the reference. No cell is compared with a cell.

Learning of closures from statistics alone: Novati, de Laroussilhe and Koumoutsakos, "Automating turbulence modelling by
multi-agent reinforcement learning" (2021), Nature Machine Intelligence 3; Kurz, Offenhäuser and Beck, "Deep
reinforcement learning for turbulence modeling in large eddy simulations" (2023), Int. J. Heat Fluid Flow 99, whose
agents share one reward by the energy spectrum.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.core.metric import Metric
from closura.core.registry import Registry
from closura.grids import Grid
from closura.problems.problem import Field, Problem, Transition
from closura.settings import Settings

Values = tuple[Float[Array, "..."], ...]
"""Numbers of each statistic."""

SMALLEST = 1e-12
"""Added to numbers before the logarithm, times their sum: shells that hold nothing but rounding do not count."""

LEAST_SPREAD = 0.01
"""Spreads count as at least so much: of a logarithm as it is, of others times the root mean square of the numbers."""


@dataclass(frozen=True)
class Statistic:
    """A kind of statistic; see :func:`statistic`."""

    name: str
    of: Callable[[Field, Grid], Float[Array, " value"]]
    logarithm: bool = False
    about: str = ""


STATISTICS: Registry[Statistic] = Registry("statistic", Statistic)


def statistic(name: str, *, logarithm: bool = False) -> Callable[[Callable[..., Array]], Statistic]:
    """Register a function of a field as a statistic.

    It is called with a field ``(component, *grid)`` and its :class:`~closura.Grid` and gives one number or several,
    traceable by JAX. Numbers are averaged over fields; with ``logarithm`` the logarithms of the means are compared, and
    all have to be positive.

    .. code-block:: python

        @closura.statistic("extremes")
        def extremes(field, grid):
            return jnp.stack([jnp.min(field), jnp.max(field)])
    """

    def register(of: Callable[..., Array]) -> Statistic:
        about = next(iter((of.__doc__ or "").strip().splitlines()), "")
        return STATISTICS.add(name, Statistic(name, of, logarithm, about))

    return register


@dataclass(frozen=True)
class OfStatistics(Settings):
    """Whether statistics count instead of the error against the reference.

    Parameters
    ----------
    statistics
        Names of the statistics that count alone (``closura list statistics``); none: the error does.
    """

    statistics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.statistics:
            STATISTICS.find(name)


def statistic_metric(kind: Statistic, grid: Grid) -> Metric:
    """A statistic as an error of two fields: by how much its numbers differ from those of the reference.

    The root mean square of the differences of logarithms, or of other numbers the Euclidean norm of the differences
    over that of the reference's. ``grid`` is that of the fields, but for its number of points.
    """

    def of(field: Field, reference: Field) -> Float[Array, ""]:
        here = Grid(field.shape[1:], grid.extent, grid.boundary)
        scores = [Statistics((kind,), here).scores(Statistics((kind,), here).values(f)) for f in (field, reference)]
        square = jnp.sum(jnp.square(scores[0] - scores[1]))
        size = scores[1].size if kind.logarithm else jnp.sum(jnp.square(scores[1]))
        return jnp.sqrt(square / size)

    title = f"log {kind.name} difference" if kind.logarithm else f"{kind.name} difference"
    name = f"{kind.name}_difference".replace("-", "_")
    return Metric(name, of, title, percent=not kind.logarithm, aggregate="median")


def check_statistics(settings: OfStatistics, *, follows_state: bool) -> None:
    """Refuse statistics of a reference that follows the closure's state: it has none of its own."""
    if settings.statistics and follows_state:
        raise ValueError(
            f"statistics {', '.join(settings.statistics)} need a reference that runs by itself; this target follows "
            "the closure: choose another target, or leave statistics out"
        )


class Statistics(eqx.Module):
    """Statistics that are compared with each other.

    Parameters
    ----------
    kinds
        Which.
    grid
        Of the fields.
    weights
        w_k, for each number.
    band
        Differences up to this do not count, for each number.
    """

    kinds: tuple[Statistic, ...] = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    weights: Float[Array, " value"] | float = 1.0
    band: Float[Array, " value"] | float = 0.0

    def values(self, field: Field) -> Values:
        """The numbers of a field; the mean of those of several fields is theirs."""
        return tuple(jnp.ravel(kind.of(field, self.grid)) for kind in self.kinds)

    def scores(self, values: Values) -> Float[Array, " value"]:
        """The numbers that are compared: some are logarithms."""
        pairs = zip(self.kinds, values, strict=True)
        return jnp.concatenate([jnp.log(v + SMALLEST * jnp.sum(v)) if k.logarithm else v for k, v in pairs])

    def differences(self, scores: Float[Array, " value"], target: Float[Array, " value"]) -> Float[Array, " value"]:
        """Weighted differences beyond the band; the mean of their squares is the distance."""
        difference = scores - target.astype(scores.dtype)
        band = jnp.asarray(self.band, scores.dtype)
        return jnp.sqrt(jnp.asarray(self.weights, scores.dtype)) * (difference - jnp.clip(difference, -band, band))

    def distance(self, values: Values, target: Float[Array, " value"]) -> Float[Array, ""]:
        """D, between numbers and the scores that they should have."""
        return jnp.mean(jnp.square(self.differences(self.scores(values), target)))


def statistics_of(problem: Problem, names: tuple[str, ...], draws: int = 32) -> Statistics:
    """Statistics by name, weighted by their spread over some fields of a problem's reference."""
    plain = Statistics(tuple(STATISTICS.find(name) for name in names), problem.grid)

    def draw(key: Array) -> Values:
        begun, _ = problem.begin.anywhere(1, key=key)
        return plain.values(problem.reference.field(begun.reference))

    values = jax.lax.map(draw, jax.random.split(jax.random.key(0), draws))
    scores = jax.vmap(plain.scores)(values)
    sizes = []
    for kind, numbers in zip(plain.kinds, values, strict=True):
        size = jnp.ones(()) if kind.logarithm else jnp.mean(jnp.square(numbers))
        sizes.append(jnp.full(numbers.shape[1:], LEAST_SPREAD**2 * size))
    least = jnp.maximum(jnp.concatenate(sizes).astype(scores.dtype), jnp.finfo(scores.dtype).tiny)
    return Statistics(plain.kinds, plain.grid, jax.lax.stop_gradient(1 / (jnp.var(scores, axis=0) + least)))


class StatisticsReward(eqx.Module):
    """By how much a step lowers the distance between the statistics of the state and of the reference.

    Both are of one field at one time, and all agents share the reward. ``own`` is the problem's reward, whose shape it
    has.
    """

    statistics: Statistics
    own: Callable[[Transition], Array]

    def __call__(self, transition: Transition) -> Float[Array, "*agents"]:
        before = self._distance(transition.state, transition.reference)
        after = self._distance(transition.next_state, transition.next_reference)
        like = jax.eval_shape(self.own, transition)
        return jnp.broadcast_to((before - after).astype(like.dtype), like.shape)

    def _distance(self, state: Field, reference: Field) -> Float[Array, ""]:
        s = self.statistics
        return s.distance(s.values(state), s.scores(s.values(reference)))


def cell_gains(
    statistics: Statistics, before: Field, change: Field, target: Float[Array, " value"]
) -> Float[Array, "*grid"]:
    """The gain D(before) - D(before + change), divided among the cells by what each has done.

        r(x) = -n change(x) . integral over s in 0 to 1 of grad D(before + s change) + rest ,

    n the number of cells. The integral is taken by Gauss's two points, whose error is of fifth order in the change; the
    rest, the same for all cells, is what that leaves, so that the mean of r is the gain exactly. Whoever lowers a
    surplus is paid where it is lowered.
    """

    def distance(field: Field) -> Float[Array, ""]:
        return statistics.distance(statistics.values(field), target)

    gain = distance(before) - distance(before + change)
    slopes = [jax.grad(distance)(before + change * jnp.asarray(0.5 + s / 12**0.5, change.dtype)) for s in (-1, 1)]
    shares = -jnp.sum(change * (slopes[0] + slopes[1]) / 2, axis=0) * before[0].size
    return shares + (gain - jnp.mean(shares))


def mirrored(field: Field, grid: Grid) -> tuple[Array, tuple[float, ...]]:
    """A field that is periodic along every axis, continued as its mirror image where it is not; and its extent."""
    extent = list(grid.extent)
    for axis, boundary in enumerate(grid.boundary):
        if boundary != "periodic":
            field = jnp.concatenate([field, jnp.flip(field, axis + 1)], axis + 1)
            extent[axis] *= 2
    return field, tuple(extent)


def shells_of(shape: tuple[int, ...], extent: tuple[float, ...]) -> np.ndarray:
    """The shell floor(|k|) of every wave of a half spectrum, k in units of 2 pi over the longest side.

    0 for the mean and for waves of half the number of points (Nyquist), which stand for two.
    """
    longest = max(extent)
    whole = [np.fft.fftfreq(n, 1.0 / n) for n in shape[:-1]] + [np.arange(shape[-1] // 2 + 1)]
    waves = np.meshgrid(*whole, indexing="ij")
    kept = np.all([2 * np.abs(k) < n for k, n in zip(waves, shape, strict=True)], axis=0)
    size = np.sqrt(sum(np.square(k * longest / length) for k, length in zip(waves, extent, strict=True)))
    return np.where(kept, np.floor(size + 1e-9), 0).astype(np.int32)


def shell_energies(field: Field, grid: Grid) -> Float[Array, "component shell"]:
    """Half the mean square of each component in the shells floor(|k|) = 1, 2, ..; their sum is half its variance."""
    field, extent = mirrored(field, grid)
    shape, axes = field.shape[1:], tuple(range(1, field.ndim))
    spectrum = jnp.fft.rfftn(field, axes=axes)
    twice = np.where((np.arange(shape[-1] // 2 + 1) > 0), 2.0, 1.0)  # conjugates; the last wave is in no shell
    energy = jnp.square(jnp.abs(spectrum)) * jnp.asarray(twice / (2 * math.prod(shape) ** 2), field.dtype)
    shells = shells_of(shape, extent)
    of_one = lambda e: jax.ops.segment_sum(e.ravel(), jnp.asarray(shells.ravel()), int(shells.max()) + 1)[1:]
    return jax.vmap(of_one)(energy)


@statistic("spectrum", logarithm=True)
def spectrum(field: Field, grid: Grid) -> Float[Array, "component shell"]:
    """Energy of each component in shells of wavenumbers, by its logarithm."""
    return shell_energies(field, grid)


@statistic("moments")
def moments(field: Field, grid: Grid) -> Float[Array, " value"]:
    """Mean and variance of each component."""
    axes = tuple(range(1, field.ndim))
    return jnp.concatenate([jnp.mean(field, axes), jnp.var(field, axes)])


@statistic("quantiles")
def quantiles(field: Field, grid: Grid) -> Float[Array, "quantile component"]:
    """Sixteen quantiles of each component's values: their distribution, as a histogram tells it."""
    shares = (jnp.arange(16) + 0.5) / 16
    return jnp.quantile(field.reshape(field.shape[0], -1), shares.astype(field.dtype), axis=1)


@statistic("increments", logarithm=True)
def increments(field: Field, grid: Grid) -> Float[Array, " value"]:
    """Mean second and fourth powers of differences over 1, 2, 4, .. cells along each axis, by their logarithms."""
    found = []
    for axis, (points, boundary) in enumerate(zip(grid.shape, grid.boundary, strict=True)):
        distance = 1
        while distance <= max(points // 4, 1):
            jump = jnp.roll(field, -distance, axis + 1) - field
            if boundary != "periodic":
                jump = jax.lax.slice_in_dim(jump, 0, points - distance, axis=axis + 1)
            square = jnp.square(jump).reshape(field.shape[0], -1)
            found += [jnp.mean(square, 1), jnp.mean(jnp.square(square), 1)]
            distance *= 2
    return jnp.concatenate(found)
