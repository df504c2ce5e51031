"""Where the time of a training goes: a part of ``runtime.py``.

The parts of a training are timed one by one, each compiled by itself with the sizes it has inside an update, and so
is the whole update; "rest" is the difference (drawing initial conditions, rewards, records). It absorbs what compiling
the parts together saves, so it may be negative.

* PPO as published: one update is one episode of ``--episode`` steps in one environment, the fine solver in the loop,
  IRCNN, minibatches of 10. Fine solver, coarse solver and network (distribution, value, sample, density) run in
  loops of as many steps; the update is the advantages and one pass over the minibatches. All parts grow with the
  length of the episode, so their shares hardly depend on it.
* Our default: windows of gradients through the rollout of the compact closure, on stored reference. Times are means
  over the stages of the curriculum, by their share of the updates. Coarse solver and network are forward passes; the
  update is what the whole costs beyond the rollout alone (gradient, optimiser, new initial conditions); the fine solver
  is the renewal of a block of the store, divided by the updates between renewals. (The store holds one block here.)

Validation is timed on one simulation, multiplied by their number, divided by the updates between validations. It is
no part of the shares: the published ones do not say where it is counted.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from timing import Case, Time, begin, coarse_step, markdown, measure, number, reference_step, repeat

from closura.learners import LEARNERS
from closura.learners.bptts import BPTTS
from closura.learners.collection import minibatches
from closura.problems import Problem, build_problem, simulate_reference, with_store
from closura.runs.configuration import TrainConfiguration, train_preset
from closura.runs.training import build_closure, validation_error

# Shares of the time of a training in percent: the paper's, and the published code's on one processor thread, tests
# left out (its environment step holds both solvers).
PUBLISHED_SHARES = {"fine solver": 71.3, "coarse solver": 1.3, "network": 5.0, "update": 5.5, "rest": 16.9}
PUBLISHED_CODE_SHARES = {
    "advection": {"both solvers": 5, "network": 11, "update": 84},
    "burgers": {"both solvers": 30, "network": 9, "update": 61},
}
SHARED = tuple(PUBLISHED_SHARES)


def training(repetitions: int, quick: bool, episode: int, problems: Iterable[str]) -> dict[str, Any]:
    """Parts of one update, in milliseconds and percent."""
    result: dict[str, Any] = {}
    for name in problems:
        paper = train_preset("paper", problem=name)
        default = train_preset("default", problem=name)
        if quick:
            small = {"cells": 8}
            paper, default = (replace(c, problem=replace(c.problem, **small)) for c in (paper, default))
            learning = replace(default.learning, batch=2, horizons=(2,), fractions=(1.0,))
            reference = replace(default.reference, slots=2, blocks=2, steps=default.problem.minimum_steps)
            default = replace(default, learning=learning, reference=reference)
        result[name] = {
            f"PPO as published, episodes of {episode}": on_policy_update(paper, episode, repetitions),
            "our default, bptts": bptts_update(default, repetitions),
        }
    return result


def _problem(c: TrainConfiguration, **changes: Any) -> Problem:
    """The training problem, with images that need no files."""
    if hasattr(c.problem, "images"):
        changes["images"] = "synthetic"
    return build_problem(replace(c.problem, **changes))


def on_policy_update(c: TrainConfiguration, steps: int, repetitions: int) -> dict[str, Any]:
    """One update of PPO as published: an episode of ``steps`` steps, then a pass over its minibatches."""
    problem = _problem(c, minimum_steps=steps, maximum_steps=steps)
    learner: Any = LEARNERS.find(c.learner)(c.learning)
    policy = build_closure(c, problem, key=jax.random.key(0))
    state = learner.init(problem, policy, key=jax.random.key(1))
    initial = begin(problem)
    count, one = jnp.asarray(steps, jnp.int32), jnp.asarray(1, jnp.int32)
    trajectory = eqx.filter_jit(learner.collect)(problem, policy, None, key=jax.random.key(3))[1]
    observation = problem.coarse.observe(initial.state, initial.parameters)

    @eqx.filter_jit
    def play(policy: Any, observation: Any) -> Any:
        def ask(observation: Any, key: Any) -> Any:
            normal, value = policy.evaluate(observation)
            action = normal.sample(key)
            # The next question depends on the answer: nothing can be moved out of the loop.
            answer = jnp.mean(action) + jnp.mean(value) + jnp.mean(normal.log_prob(action))
            return observation + 1e-6 * answer, (action, value)

        return jax.lax.scan(ask, observation, jax.random.split(jax.random.key(4), steps))

    @eqx.filter_jit
    def improve(learner: Any, policy: Any, optimiser: Any, trajectory: Any, count: Any) -> Any:
        batches = minibatches(jnp.arange(steps, dtype=jnp.int32), count, c.learning.minibatch)
        policy, optimiser, _ = learner.improve(policy, optimiser, learner.frames(trajectory), batches)
        return eqx.filter((policy, optimiser), eqx.is_array)

    trusted = reference_step(problem, initial)
    coarse = coarse_step(problem, initial.parameters)
    times = measure(
        {
            "fine solver": Case(lambda: repeat(trusted, initial.reference, count)),
            "coarse solver": Case(lambda: repeat(coarse, initial.state, count)),
            "network": Case(lambda: play(policy, observation)),
            "update": Case(lambda: improve(learner, policy, state.optimiser, trajectory, count)),
            "whole": Case(lambda: eqx.filter(learner.advance(problem, state, one, 0), eqx.is_array)),
            "validation": validation_case(problem, policy, c),
        },
        repetitions,
    )
    parts = {name: times[name].median for name in SHARED if name in times}
    parts["rest"] = times["whole"].median - sum(parts.values())
    return summary(c, times, parts, times["whole"].median, transitions=steps)


def bptts_update(c: TrainConfiguration, repetitions: int) -> dict[str, Any]:
    """One update of gradients through the rollout on stored reference, averaged over the curriculum."""
    simulated = _problem(c)
    block = c.reference.slots // c.reference.blocks
    problem = with_store(simulated, simulate_reference(simulated, block, c.reference.steps, key=jax.random.key(0)))
    learner = BPTTS(c.learning)
    closure = build_closure(c, problem, key=jax.random.key(1))
    state = learner.init(problem, closure, key=jax.random.key(2))
    episodes = state.carry
    parameters = episodes.parameters

    @eqx.filter_jit
    def forward(learner: Any, problem: Any, closure: Any, episodes: Any, horizon: int) -> Any:
        return jnp.mean(jax.vmap(lambda e: learner.window(problem, closure, e, horizon).loss)(episodes))

    @eqx.filter_jit
    def coarse(problem: Any, state: Any, parameters: Any, horizon: int) -> Any:
        def step(state: Any, _: None) -> Any:
            return jax.vmap(lambda s, p: problem.step(s, p)[0])(state, parameters), None

        return jax.lax.scan(step, state, None, length=horizon)[0]

    @eqx.filter_jit
    def network(problem: Any, closure: Any, state: Any, parameters: Any, horizon: int) -> Any:
        def ask(observation: Any, _: None) -> Any:
            return observation + 1e-6 * jnp.mean(jax.vmap(closure)(observation)), None

        observation = jax.vmap(problem.coarse.observe)(state, parameters)
        return jax.lax.scan(ask, observation, None, length=horizon)[0]

    cases = {"validation": validation_case(simulated, closure, c)}
    cases["renewal"] = Case(
        lambda: simulate_reference(simulated, block, c.reference.steps, key=jax.random.key(3)).reference
    )
    one = jnp.asarray(1, jnp.int32)
    for stage, horizon in enumerate(c.learning.horizons):
        calls: dict[str, Callable[[], Any]] = {
            "coarse solver": lambda h=horizon: coarse(problem, episodes.state, parameters, h),
            "network": lambda h=horizon: network(problem, closure, episodes.state, parameters, h),
            "forward": lambda h=horizon: forward(learner, problem, closure, episodes, h),
            "whole": lambda s=stage: eqx.filter(learner.advance(problem, state, one, s), eqx.is_array),
        }
        cases |= {f"{name} {stage}": Case(call) for name, call in calls.items()}
    times = measure(cases, repetitions)
    shares = np.asarray(learner.stages()) / sum(learner.stages())

    def mean(name: str) -> float:
        return float(sum(share * times[f"{name} {stage}"].median for stage, share in enumerate(shares)))

    renewal = times["renewal"].median / c.reference.renew_every if c.reference.renew_every else 0.0
    parts = {
        "fine solver": renewal,
        "coarse solver": mean("coarse solver"),
        "network": mean("network"),
        "update": mean("whole") - mean("forward"),
        "rest": mean("forward") - mean("coarse solver") - mean("network"),
    }
    steps = c.learning.batch * float(np.dot(shares, c.learning.horizons))
    return summary(c, times, parts, renewal + mean("whole"), transitions=steps)


def validation_case(problem: Problem, closure: Any, c: TrainConfiguration) -> Case:
    """The validation of one simulation; the validation runs them one after the other."""
    store = simulate_reference(problem, 1, c.validation.steps, key=jax.random.key(5))
    return Case(lambda: validation_error(problem, closure, store))


def summary(
    c: TrainConfiguration, times: dict[str, Time], parts: dict[str, float], whole: float, *, transitions: float
) -> dict[str, Any]:
    """Milliseconds and shares of one update."""
    validation = times["validation"].median * c.validation.simulations / c.validation.every
    return {
        "closure": c.closure,
        "transitions_per_update": transitions,
        "milliseconds": {**parts, "whole": whole, "validation": validation},
        "percent": {name: 100 * value / whole for name, value in parts.items()},
        "milliseconds_per_transition": whole / transitions,
        "measured": {name: asdict(found) for name, found in times.items()},
    }


def show_training(found: dict[str, Any]) -> None:
    """Print the shares of one update."""
    for problem, runs in found.items():
        print(f"\n{problem}: where the time of a training goes, percent of an update (validation left out)")
        columns = ["", *SHARED, "update in all, ms", "per transition, ms", "validation per update, ms"]
        lines = [["paper", *(number(PUBLISHED_SHARES[name]) for name in SHARED), "", "", ""]]
        theirs = PUBLISHED_CODE_SHARES[problem]
        both = f"{theirs['both solvers']} (both)"
        lines.append(
            ["published code, one thread", both, "", f"{theirs['network']}", f"{theirs['update']}", "", "", "", ""]
        )
        for name, run in runs.items():
            ms = run["milliseconds"]
            lines.append(
                [
                    name,
                    *(f"{run['percent'][part]:.1f}" for part in SHARED),
                    *(number(x) for x in (ms["whole"], run["milliseconds_per_transition"], ms["validation"])),
                ]
            )
        markdown(columns, lines)
