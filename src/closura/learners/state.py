"""What all learners share: their state, their optimiser, and the shape of their updates."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Scalar

from closura.core import Registry
from closura.environment import EnvironmentState
from closura.problems.problem import Problem
from closura.settings import NoSettings, Settings

Metrics = dict[str, Float[Array, ""]]


class LearnerState(eqx.Module):
    """Everything that a training needs to go on: saved as it is, an interrupted run continues bit for bit.

    ``closure`` holds the network being trained, ``average`` the exponential moving average of its weights,
    ``carry`` whatever the learner takes from one update to the next (running simulations, mostly), and
    ``key_data`` the raw data of the random key.
    """

    closure: PyTree[Array]
    average: PyTree[Array]
    optimiser: PyTree[Array]
    carry: PyTree[Array]
    key_data: Array
    updates: Int[Array, ""]
    transitions: Float[Array, ""]


class Learner(eqx.Module):
    """A way to improve a closure on a problem.

    A learner of your own is a subclass with a field ``configuration``, its settings, which defines

    * ``stages()``: how many updates there are;
    * ``optimiser()``: the optimiser of the closure's weights;
    * ``begin(problem, key=key)``: what it takes from one update to the next;
    * ``update(problem, state, stage)``: one step of learning, pure, compiled and repeated by :meth:`advance`. It gives
      a state with one more of ``updates``, and metrics: scalars by name. A metric ``left_out`` is the share of
      simulations that were not finite and were left out: a training in which that is all of them ends.

    It is registered with ``@closura.learner("name", settings=Settings)``. A training hands it

    * the problem, whose ``step``, ``reference`` and ``begin`` give simulations
      (:class:`~closura.environment.Environment` makes episodes of them),
    * the closure as ``state.closure``, any module ``observation -> action``; where ``explores`` is true it is an
      :class:`~closura.closures.ActorCritic`, with a distribution of actions and a value.

    Attributes
    ----------
    explores
        Whether it learns from random actions: its closures are policies.
    differentiates
        Whether it needs the gradient of the solver (:attr:`closura.Solver.differentiable`).
    advice
        What else than a smaller step helps a training that diverges, as part of a sentence.
    """

    explores: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    @classmethod
    def check(cls, training: Any, *, follows_state: bool) -> None:
        """Refuse settings of a training (:class:`~closura.runs.TrainConfiguration`) that this learner cannot work with.

        ``follows_state`` says whether the problem's reference takes notice of the coarse state.
        """

    @abc.abstractmethod
    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """The first carry: running simulations, or nothing."""

    @abc.abstractmethod
    def optimiser(self) -> optax.GradientTransformation:
        """The optimiser of the closure's weights."""

    @abc.abstractmethod
    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """One update of the closure; ``stage`` is the static part of the curriculum."""

    @abc.abstractmethod
    def stages(self) -> tuple[int, ...]:
        """Number of updates in each stage of the curriculum (at least one stage)."""

    def init(self, problem: Problem, closure: PyTree[Array], *, key: Key[Scalar, ""]) -> LearnerState:
        """The state before the first update."""
        begin_key, key = jax.random.split(key)
        weights = eqx.filter(closure, eqx.is_inexact_array)
        return LearnerState(
            closure=closure,
            average=weights,
            optimiser=self.optimiser().init(weights),
            carry=self.begin(problem, key=begin_key),
            key_data=jax.random.key_data(key),
            updates=jnp.zeros((), jnp.int32),
            transitions=jnp.zeros((), jnp.float32),
        )

    def stage_of(self, update: int) -> tuple[int, int]:
        """The stage that an update (counted from 0) belongs to, and the first update after that stage."""
        end = 0
        for stage, length in enumerate(self.stages()):
            end += length
            if update < end:
                return stage, end
        return len(self.stages()) - 1, end

    def renew(
        self, problem: Problem, state: LearnerState, fresh: Bool[Array, " slots"], *, key: Key[Scalar, ""]
    ) -> LearnerState:
        """Begin anew the running simulations whose stored reference has just been replaced.

        ``fresh`` marks the new slots of the store that ``problem`` reads.
        """
        if not isinstance(state.carry, EnvironmentState):
            return state
        begun = self.begin(problem, key=key)
        slot, _ = state.carry.reference
        return replace(state, carry=choose(fresh[slot], begun, state.carry))

    @eqx.filter_jit
    def advance(
        self, problem: Problem, state: LearnerState, updates: Int[Array, ""], stage: int
    ) -> tuple[LearnerState, Metrics]:
        """Make ``updates`` updates on the device in one compiled loop; metrics are means over them."""
        arrays, static = eqx.partition(state, eqx.is_array)

        def one(arrays: Any) -> tuple[Any, Any]:  # checked below
            following, metrics = self.update(problem, eqx.combine(arrays, static), stage)
            return eqx.partition(following, eqx.is_array)[0], metrics

        def again(_: Array, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            arrays, metrics = one(carry[0])
            return arrays, jax.tree.map(jnp.add, carry[1], metrics)

        following, shapes = jax.eval_shape(one, arrays)
        self._check(arrays, following, shapes)
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        arrays, metrics = jax.lax.fori_loop(0, updates, again, (arrays, zero))
        return eqx.combine(arrays, static), jax.tree.map(lambda x: x / updates.astype(x.dtype), metrics)

    def _check(self, arrays: Any, following: Any, metrics: dict[str, Any]) -> None:
        """Refuse updates that cannot be repeated, and metrics that are no scalars."""
        before, after = (
            {jax.tree_util.keystr(path): (x.shape, x.dtype.name) for path, x in jax.tree.leaves_with_path(state)}
            for state in (arrays, following)
        )
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if changed:
            what = f"{before.get(changed[0], 'nothing')} becomes {after.get(changed[0], 'nothing')}"
            raise ValueError(f"{type(self).__name__}.update must keep all shapes of its state: {changed[0]} {what}")
        for name, value in metrics.items():
            if value.shape:
                raise ValueError(f"{type(self).__name__}.update: metric {name} must be a scalar; got {value.shape}")


def choose(mask: Bool[Array, " batch"], fresh: PyTree[Array], running: PyTree[Array]) -> PyTree[Array]:
    """Per simulation of a batch: the fresh one where the mask is set."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b), fresh, running)


def keep_if(condition: Bool[Array, ""], new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    """All of the new arrays, or all of the old ones."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def averaged(state: LearnerState) -> PyTree[Array]:
    """The closure with the moving average of its weights."""
    return eqx.combine(state.average, state.closure)


def move_average(average: PyTree[Array], closure: PyTree[Array], decay: float | Float[Array, ""]) -> PyTree[Array]:
    """``decay * average + (1 - decay) * closure`` over the weights (``decay=0``: no averaging)."""
    weights = eqx.filter(closure, eqx.is_inexact_array)
    return jax.tree.map(lambda a, w: decay * a + (1.0 - decay) * w, average, weights)


def next_state(
    state: LearnerState,
    closure: PyTree[Array],
    optimiser: PyTree[Array],
    carry: PyTree[Array],
    *,
    transitions: int | Float[Array, ""],
    key: Key[Scalar, ""],
    decay: float = 0.0,
) -> LearnerState:
    """The state after an update: its new parts, with one more of ``updates`` and so many more ``transitions``.

    ``carry`` is what the learner takes on, ``key`` the random key of the next update, and ``decay`` that of the moving
    average of the weights (0: the weights themselves).
    """
    average = move_average(state.average, closure, decay)
    total = state.transitions + transitions
    return LearnerState(closure, average, optimiser, carry, jax.random.key_data(key), state.updates + 1, total)


def global_norm(tree: PyTree[Array]) -> Float[Array, ""]:
    """Euclidean norm over all leaves."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


Kind = TypeVar("Kind", bound=type[Learner])


@dataclass(frozen=True)
class LearnerKind:
    """A registered learner."""

    name: str
    make: type[Learner]
    settings: type[Settings] = NoSettings
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "__module__", self.make.__module__)  # where it is defined

    @property
    def differentiates(self) -> bool:
        """Whether it needs the gradient of the solver."""
        return self.make.differentiates

    @property
    def explores(self) -> bool:
        """Whether it learns from random actions of a policy."""
        return self.make.explores

    def __call__(self, settings: Any) -> Learner:
        """A learner with these settings."""
        return self.make(settings)


LEARNERS: Registry[LearnerKind] = Registry("learner", LearnerKind)


def learner(name: str, *, settings: type[Settings] = NoSettings, sources: Sequence[str] = ()) -> Callable[[Kind], Kind]:
    """Register a class of learners; see :class:`~closura.learners.Learner` for what it has to have.

    Parameters
    ----------
    name
        Its name.
    settings
        The class of its settings, a frozen dataclass (default: none); on the command line ``--learning.NAME``.
    sources
        BibTeX of the publications behind it, which reports cite.
    """

    def register(kind: Kind) -> Kind:
        missing = sorted(kind.__abstractmethods__)
        if missing:
            raise ValueError(f"learner {name}: {kind.__name__} lacks {', '.join(missing)} (see closura.Learner)")
        LEARNERS.add(name, LearnerKind(name, kind, settings, tuple(sources)), kind)
        return kind

    return register
