"""Problems as environments of Gymnasium: one, or several in one compiled step.

One agent that acts in all cells at once, where the environments of the package have one agent per cell. Importing this
module registers ``closura/NAME-v0`` for every problem that comes with the package.
"""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from closura.entries import ENTRIES
from closura.environment import Environment, EnvironmentState
from closura.problems import Problem, build_problem, family

try:
    import gymnasium
    from gymnasium.spaces import Box
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError as error:
    raise ImportError("environments of Gymnasium need that package: pip install 'closura[gymnasium]'") from error

LOST = -1.0
"""The reward of cells where a simulation is lost: the state or the reward is not a finite number."""
USUAL_RANGE = 4.0
"""The largest action by default, in units of a typical useful one."""
LARGEST = float(np.finfo(np.float32).max)


class Answer(NamedTuple):
    """What a step gives; ``rewards`` are per cell, ``error`` is the problem's."""

    observation: Float[Array, "observation *cells"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    rewards: Float[Array, "*cells"]
    error: Float[Array, ""]


class World(eqx.Module):
    """A problem's environment for actions in units of ``size``, with finite answers."""

    environment: Environment
    size: float = eqx.field(static=True)

    def reset(self, seed: Array) -> tuple[EnvironmentState, Float[Array, "observation *cells"]]:
        """An episode from a whole number, and what is seen first."""
        episode = self.environment.reset(key=jax.random.key(seed))
        return episode, _finite(self.environment.observe(episode))

    def step(self, episode: EnvironmentState, action: Float[Array, "action *cells"]) -> tuple[EnvironmentState, Answer]:
        """Act and advance by one coarse step; a lost simulation is terminated."""
        following, found = self.environment.step(episode, self.size * action)
        lost = ~(jnp.all(jnp.isfinite(found.observation)) & jnp.all(jnp.isfinite(found.reward)))
        rewards = jnp.where(jnp.isfinite(found.reward), found.reward, LOST).astype(jnp.float32)
        terminated, error = found.terminated | lost, _finite(found.error)
        truncated = found.truncated & ~terminated
        seen = _finite(found.observation)
        return following, Answer(seen, jnp.mean(rewards), terminated, truncated, rewards, error)

    def fields(self, episode: EnvironmentState) -> tuple[Array, Array]:
        """State and reference on the coarse grid, ``(component, *grid)``."""
        p = self.environment.problem
        return p.coarse.to_grid(episode.state, p.grid), p.coarse.to_grid(p.reference.field(episode.reference), p.grid)


_reset = eqx.filter_jit(lambda world, seed: world.reset(seed))
_step = eqx.filter_jit(lambda world, episode, action: world.step(episode, action))
_reset_all = eqx.filter_jit(lambda world, seeds: jax.vmap(world.reset)(seeds))
_step_all = eqx.filter_jit(lambda world, episodes, actions: jax.vmap(world.step)(episodes, actions))
_put = eqx.filter_jit(lambda all, one, i: jax.tree.map(lambda a, b: a.at[i].set(b), all, one))


class ClosureEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One simulation; see :func:`gymnasium_env`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, world: World, render_mode: str | None = None) -> None:
        self.world, self.render_mode = world, _render_mode(render_mode)
        self.observation_space, self.action_space = spaces(world)
        self._episode: EnvironmentState | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode; without a seed, the next of those that follow from the last seed."""
        super().reset(seed=seed)
        self._episode, seen = _reset(self.world, _draw(self.np_random))
        return np.array(seen), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One coarse time step."""
        self._episode, found = _step(self.world, self._begun(), jnp.asarray(action, jnp.float32))
        found = jax.tree.map(np.array, found)
        info = {"cell_rewards": found.rewards, "error": float(found.error)}
        return found.observation, float(found.reward), bool(found.terminated), bool(found.truncated), info

    def render(self) -> Any:
        """The first component of the state beside the reference."""
        if self.render_mode is None:
            return None
        return picture(*(np.asarray(field[0]) for field in self.world.fields(self._begun())))

    def _begun(self) -> EnvironmentState:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("no episode has begun: call reset first")
        return self._episode


class ClosureVectorEnv(VectorEnv):
    """Several simulations in one compiled step; see :func:`gymnasium_vector_env`."""

    def __init__(self, world: World, num_envs: int, autoreset_mode: AutoresetMode | str) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be positive; got {num_envs}")
        self.world, self.num_envs = world, num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = spaces(world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._over = np.zeros(num_envs, bool)
        self._episodes: EnvironmentState | None = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all episodes; number i of a seed s as the single environment with seed s + i."""
        seeds = (
            [None if seed is None else seed + i for i in range(self.num_envs)] if not isinstance(seed, list) else seed
        )
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected one seed for each of {self.num_envs} simulations; got {len(seeds)}")
        for i, each in enumerate(seeds):
            if each is not None:
                self._generators[i] = gymnasium.utils.seeding.np_random(each)[0]
        self._episodes, seen = _reset_all(self.world, jnp.stack([_draw(each) for each in self._generators]))
        self._over = np.zeros(self.num_envs, bool)
        return np.array(seen), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One coarse time step of all; episodes that are over begin anew as the mode says."""
        if self._episodes is None:
            raise gymnasium.error.ResetNeeded("no episode has begun: call reset first")
        mode, over = self.autoreset_mode, self._over
        if mode is AutoresetMode.DISABLED and over.any():
            raise gymnasium.error.ResetNeeded("an episode is over, and does not begin anew by itself: call reset")
        self._episodes, found = _step_all(self.world, self._episodes, jnp.asarray(actions, jnp.float32))
        seen, reward, terminated, truncated, rewards, error = jax.tree.map(np.array, found)
        acted = np.ones(self.num_envs, bool)
        if mode is AutoresetMode.NEXT_STEP:  # these only begin; their actions do not count
            acted, reward[over], terminated[over], truncated[over] = ~over, 0, False, False
        done = terminated | truncated
        infos: dict[str, Any] = {}
        given = {"cell_rewards": rewards, "error": error.astype(np.float64)}
        if mode is AutoresetMode.SAME_STEP:
            for i in np.flatnonzero(done):
                last = {"final_obs": seen[i].copy(), "final_info": {k: _item(v[i]) for k, v in given.items()}}
                infos = self._add_info(infos, last, int(i))
            acted = ~done
        if acted.any():
            for name, values in given.items():
                mask = acted.reshape(-1, *(1,) * (values.ndim - 1))
                infos |= {name: np.where(mask, values, 0).astype(values.dtype), f"_{name}": acted.copy()}
        for i in np.flatnonzero(done if mode is AutoresetMode.SAME_STEP else over):
            fresh, seen[i] = _reset(self.world, _draw(self._generators[i]))
            self._episodes = _put(self._episodes, fresh, int(i))
        self._over = done
        return seen, reward.astype(np.float64), terminated, truncated, infos


def gymnasium_env(
    problem: Problem | str,
    *,
    split: str = "train",
    action_size: float | None = None,
    ends_are_terminal: bool = False,
    render_mode: str | None = None,
    data_dir: str | Path | None = None,
    **settings: Any,
) -> ClosureEnv:
    """A problem as an environment of Gymnasium.

    Observations are ``(channel, *grid)`` (``(channel, interface)`` where a closure acts between cells), float32, as a
    closure gets them; actions likewise, of -1 to 1, where 1 stands for ``action_size``. The reward is the mean of the
    rewards of all cells, which are in ``info["cell_rewards"]`` beside the problem's ``info["error"]``. Episodes end as
    the problem's rules say: truncated, or terminated with ``ends_are_terminal``. A simulation that is lost (its state
    or reward is not finite) is terminated, with reward -1 in such cells.

    Parameters
    ----------
    problem
        A problem, or its name or file.
    split
        "train", "validation" or "test": where its cases are drawn from.
    action_size
        What an action of one stands for, in the units of the problem's actions (default: four times the typical size of
        a useful one, ``spec.scale``, but no more than ``spec.bound``).
    ends_are_terminal
        Whether an episode's end by the rules is terminal.
    render_mode
        "rgb_array" for pictures of the state beside the reference.
    data_dir, settings
        Of a problem by its name: folder with image files, and its settings (``cells=16``).

    Raises
    ------
    ValueError
        If settings are refused, or the solver calls a closure more than once a step: there is one action in each.
    """
    return ClosureEnv(_world(problem, split, action_size, ends_are_terminal, data_dir, settings), render_mode)


def gymnasium_vector_env(
    problem: Problem | str,
    num_envs: int = 1,
    *,
    split: str = "train",
    action_size: float | None = None,
    ends_are_terminal: bool = False,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    data_dir: str | Path | None = None,
    **settings: Any,
) -> ClosureVectorEnv:
    """A problem as a vector environment: ``num_envs`` simulations in one compiled step.

    Each is what :func:`gymnasium_env` is. ``autoreset_mode`` is one of Gymnasium's: an episode that is over begins anew
    with the next step ("NextStep"), at once ("SameStep", with the last observation in ``infos["final_obs"]``), or when
    all are reset ("Disabled").
    """
    world = _world(problem, split, action_size, ends_are_terminal, data_dir, settings)
    return ClosureVectorEnv(world, num_envs, autoreset_mode)


def spaces(world: World) -> tuple[Box, Box]:
    """Of observations and actions."""
    shape = eqx.filter_eval_shape(world.reset, jnp.uint32(0))[1].shape
    actions = (len(world.environment.problem.spec.action), *shape[1:])
    return Box(-LARGEST, LARGEST, shape, np.float32), Box(-1, 1, actions, np.float32)


def picture(state: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """A field beside its reference, ``(height, width, 3)``, uint8: curves, or planes (in 3-D through the middle)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if state.ndim == 1:
        axes = figure.subplots()
        axes.plot(reference, "k--", label="reference")
        axes.plot(state, label="state")
        axes.legend(loc="upper right")
    else:
        low, high = float(reference.min()), float(reference.max())
        for axes, field, name in zip(figure.subplots(1, 2), (state, reference), ("state", "reference"), strict=True):
            plane = field if field.ndim == 2 else field[..., field.shape[2] // 2]
            axes.imshow(plane.T, origin="lower", vmin=low, vmax=high)
            axes.set(title=name, xticks=(), yticks=())
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _world(
    problem: Problem | str,
    split: str,
    action_size: float | None,
    terminal: bool,
    data_dir: Any,
    settings: dict[str, Any],
) -> World:
    if isinstance(problem, str):
        problem = build_problem(family(problem).settings(**settings), split, data_dir=data_dir)
    elif settings:
        raise ValueError(f"settings ({', '.join(settings)}) belong to a problem by its name; got a closura.Problem")
    calls = problem.coarse.calls_per_step
    if calls != 1:
        raise ValueError(
            f"{problem.name!r} asks {calls} times a step, and an environment of Gymnasium has one action in each: set "
            "the integrator to one with one stage (integrator='forward-euler'), or orientations to 1"
        )
    size = min(problem.spec.bound, USUAL_RANGE * problem.spec.scale) if action_size is None else float(action_size)
    if not 0 < size < float("inf"):
        raise ValueError(f"action_size must be a positive number; got {action_size}")
    return World(Environment(problem, terminal), size)


def _finite(values: Array) -> Float[Array, "..."]:
    return jnp.nan_to_num(jnp.asarray(values, jnp.float32), nan=0.0, posinf=LARGEST, neginf=-LARGEST)


def _draw(generator: np.random.Generator) -> Array:
    return jnp.asarray(generator.integers(2**32, dtype=np.uint32))


def _item(value: Any) -> Any:
    return value.copy() if np.ndim(value) else float(value)


def _render_mode(mode: str | None) -> str | None:
    if mode not in (None, *ClosureEnv.metadata["render_modes"]):
        raise ValueError(f"unknown render_mode {mode!r}; valid: rgb_array, or none")
    return mode


for _name in ENTRIES["closura.problems"]:
    gymnasium.register(
        f"closura/{_name}-v0",
        entry_point="closura.gymnasium:gymnasium_env",
        vector_entry_point="closura.gymnasium:gymnasium_vector_env",
        kwargs={"problem": _name},
    )
