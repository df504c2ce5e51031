"""Time environments, solvers and closures on the cores this process may use.

    taskset -c 2,3 python benchmarks/environment.py --json environment.json

Four parts (choose with ``--parts``; ``--quick`` only checks that everything runs):

transitions
    Environment steps per second at 64 x 64, reference on 256 x 256: closura with the fine solver in every step or
    with stored reference, NumPy (``benchmarks/numpy_environment.py``) with one process and with one per core.
sharding
    The same for several environments on as many pretended CPU devices as there are cores, in a process apart.
steps
    Milliseconds per coarse step of solvers and of closures with their solver, for one simulation.
gradient
    The gradient of an 8-step rollout against the rollout.

A step is ``Environment.step`` with a given action: it returns observation, reward per cell and error, all of
which are kept; resets are not part of it. Everything is compiled and run once before the clock starts, cases of a
part take turns, and a row gives the median and the quartiles over all turns. "cores" is processor time over wall
time: where other work shares the machine it shows how much of it a case got, and the column beside the quartiles
(the same by processor time instead of wall time) is the one to compare.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.closures import build
from closura.closures._members import by_groups
from closura.environment import Environment
from closura.learners.bptts import BPTTS, BPTTSConfiguration
from closura.problems import AdvectionConfiguration, Problem, advection, simulate_reference, with_store

CORES = len(os.sched_getaffinity(0))
PARTS = ("transitions", "sharding", "steps", "gradient")
# Milliseconds per coarse step of the published code, NumPy and PyTorch on one thread of the same kind of processor.
PUBLISHED = {"CGS": "0.11", "ACGS": "0.48", "CGS + ircnn": "20-22", "FGS float32": "3.7-3.9", "FGS float64": "8-10"}
# Lets the C library keep freed arrays: otherwise each temporary of half a megabyte is returned and faulted in again.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}


@dataclass(frozen=True)
class Row:
    """One line of a table, over the turns, in the unit of its part: wall time, processor time, cores kept busy."""

    name: str
    lower: float
    median: float
    upper: float
    processor: float
    cores: float


@dataclass(frozen=True)
class Case:
    """Something to time: ``call()`` does ``amount`` units of work and returns processor seconds, or arrays."""

    call: Callable[[], Any]
    amount: int


def measure(cases: dict[str, Case], turns: int, *, rate: bool) -> list[Row]:
    """Units per second (``rate``) or milliseconds per unit; the cases take turns."""
    for case in cases.values():
        jax.block_until_ready(case.call())
    walls: dict[str, list[float]] = {name: [] for name in cases}
    processors: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(turns):
        for name, case in cases.items():
            begin, processor_begin = time.perf_counter(), time.process_time()
            result = case.call()
            if isinstance(result, Elsewhere):
                seconds, processor, amount = result.seconds, result.processor, result.amount
            else:
                jax.block_until_ready(result)
                seconds, amount = time.perf_counter() - begin, case.amount
                processor = time.process_time() - processor_begin
            walls[name].append(amount / seconds if rate else 1e3 * seconds / amount)
            processors[name].append(amount / processor if rate else 1e3 * processor / amount)
    rows = []
    for name, numbers in walls.items():
        lower, median, upper = (float(x) for x in np.percentile(numbers, (25, 50, 75)))
        pairs = zip(numbers, processors[name], strict=True)
        cores = statistics.median(wall / own if rate else own / wall for wall, own in pairs)
        rows.append(Row(name, lower, median, upper, statistics.median(processors[name]), cores))
    return rows


@dataclass(frozen=True)
class Elsewhere:
    """What other processes measured."""

    amount: float
    seconds: float
    processor: float


def numpy_case(dtype: str, processes: int, seconds: float, **environment: str) -> Case:
    """``processes`` independent NumPy environments that begin at the same moment."""
    script = Path(__file__).with_name("numpy_environment.py")
    command = [sys.executable, str(script), "--dtype", dtype, "--seconds", str(seconds), "--wait"]

    def call() -> Elsewhere:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # One thread each: the arithmetic is single-threaded anyway, idle pools would only disturb.
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment}
        workers = [subprocess.Popen(command, env=variables, **pipes) for _ in range(processes)]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        records = [json.loads(worker.communicate()[0]) for worker in workers]
        longest = max(record["seconds"] for record in records)
        return Elsewhere(
            sum(record["transitions"] / record["seconds"] for record in records) * longest,
            longest,
            sum(record["processor"] for record in records),
        )

    return Case(call, 0)


def make_problem(precision: str) -> Problem:
    """The advection problem with its default sizes, 64 x 64 and ratio 4."""
    return advection(AdvectionConfiguration(precision=precision))  # type: ignore[arg-type]


def player(steps: int, over: str) -> Callable[..., Any]:
    """A compiled function that plays some steps in a batch of environments with fixed actions."""

    def play_one(environment: Environment, episode: Any, action: Any) -> Any:
        return jax.lax.scan(lambda e, _: environment.step(e, action), episode, None, length=steps)

    @eqx.filter_jit
    def play(environment: Environment, episodes: Any, actions: Any) -> Any:
        if over == "lax.map":
            return jax.lax.map(lambda pair: play_one(environment, *pair), (episodes, actions))
        return jax.lax.scan(lambda e, _: jax.vmap(environment.step)(e, actions), episodes, None, length=steps)

    return play


def begin(problem: Problem, count: int) -> tuple[Environment, Any, jax.Array]:
    """An environment with ``count`` episodes and an action for each."""
    environment = Environment(problem)
    keys = jax.random.split(jax.random.key(1), count)
    episodes = jax.jit(lambda keys: jax.lax.map(lambda k: environment.reset(key=k), keys))(keys)
    shape = (count, len(problem.spec.action), *problem.grid.shape)
    return environment, episodes, 0.01 * jax.random.normal(jax.random.key(2), shape, jnp.float32)


def play_case(problem: Problem, count: int, steps: int, over: str, pool: ThreadPoolExecutor | None = None) -> Case:
    """``count`` environments; with a pool, a slice of them per core, each handed over by its own thread."""
    environment, episodes, actions = begin(problem, count)
    play = player(steps, over)
    if pool is None:
        return Case(lambda: play(environment, episodes, actions), count * steps)
    size = -(-count // CORES)
    pieces = [jax.tree.map(lambda x, i=i: x[i : i + size], (episodes, actions)) for i in range(0, count, size)]
    return Case(lambda: list(pool.map(lambda piece: play(environment, *piece), pieces)), count * steps)


def loop_case(problem: Problem, steps: int) -> Case:
    """One environment, one compiled call per step, as a loop in Python makes them."""
    environment, episodes, actions = begin(problem, 1)
    episode, action = jax.tree.map(lambda x: x[0], (episodes, actions))
    step = jax.jit(lambda episode, action: environment.step(episode, action))

    def call() -> Any:
        current, timestep = episode, None
        for _ in range(steps):
            current, timestep = step(current, action)
        return current, timestep

    return Case(call, steps)


def transitions(turns: int, quick: bool) -> list[Row]:
    """Transitions per second."""
    steps, long, seconds = (4, 8, 0.1) if quick else (100, 400, 1.0)
    pool = ThreadPoolExecutor(CORES) if CORES > 1 else None
    cases: dict[str, Case] = {}
    for precision in ("float32", "float64"):
        problem = make_problem(precision)
        name = f"closura, fine solver, {precision}"
        cases[f"{name}: 1 environment"] = play_case(problem, 1, steps, "vmap")
        if pool:
            cases[f"{name}: {CORES} environments, a thread each"] = play_case(problem, CORES, steps, "vmap", pool)
        if precision == "float32":
            cases[f"{name}: 1 environment, call per step"] = loop_case(problem, steps)
            few = max(steps // 4, 1)
            cases[f"{name}: 8 environments, vmap"] = play_case(problem, 8, few, "vmap")
            cases[f"{name}: 8 environments, lax.map"] = play_case(problem, 8, few, "lax.map")
            if pool:
                cases[f"{name}: 8 environments, vmap on slices in threads"] = play_case(problem, 8, few, "vmap", pool)
                cases[f"{name}: 8 environments, lax.map on slices in threads"] = play_case(
                    problem, 8, few, "lax.map", pool
                )
            key = jax.random.key(0)
            cases["simulate_reference, float32: 8 trajectories"] = Case(
                lambda problem=problem, few=few, key=key: simulate_reference(problem, 8, few, key=key), 8 * few
            )
        stored = with_store(problem, simulate_reference(problem, 8, 60, key=jax.random.key(0)))
        for count in (1, 8, 64) if precision == "float32" else (8,):
            plural = "environments, vmap" if count > 1 else "environment"
            cases[f"closura, stored reference, {precision}: {count} {plural}"] = play_case(
                stored, count, max(long // count, 4), "vmap"
            )
        if precision == "float32" and pool:
            cases["closura, stored reference, float32: 64 environments, slices in threads"] = play_case(
                stored, 64, max(long // 64, 4), "vmap", pool
            )
    for dtype in ("float64", "float32"):
        for processes in sorted({1, CORES}):
            plural = "processes" if processes > 1 else "process"
            cases[f"NumPy {dtype}: {processes} {plural}"] = numpy_case(dtype, processes, seconds)
            cases[f"NumPy {dtype}, kept memory: {processes} {plural}"] = numpy_case(
                dtype, processes, seconds, **KEEP_MEMORY
            )
    return measure(cases, turns, rate=True)


def sharding(turns: int, quick: bool) -> list[Row]:
    """Run :func:`shards` in a process with one pretended device per core."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={CORES}"
    command = [sys.executable, __file__, "--parts", "shards", "--repeats", str(turns), *(["--quick"] if quick else [])]
    finished = subprocess.run(
        command, env={**os.environ, "XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True, check=True
    )
    return [Row(**row) for row in json.loads(finished.stdout.splitlines()[-1])]


def shards(turns: int, quick: bool) -> list[Row]:
    """Environments spread over all devices by ``shard_map``."""
    steps, long = (4, 8) if quick else (25, 400)
    mesh = jax.make_mesh((jax.device_count(),), ("environment",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.P("environment"))
    cases = {}
    problem = make_problem("float32")
    stored = with_store(problem, simulate_reference(problem, 8, 60, key=jax.random.key(0)))
    for name, used, count, over in (
        ("fine solver, float32: 8 environments, shard_map of vmap", problem, 8, "vmap"),
        ("fine solver, float32: 8 environments, shard_map of lax.map", problem, 8, "lax.map"),
        ("stored reference, float32: 64 environments, shard_map of vmap", stored, 64, "vmap"),
    ):
        environment, episodes, actions = begin(used, count)
        number = steps if used is problem else max(long // count, 4)
        play = player(number, over)
        arrays, static = eqx.partition(environment, eqx.is_array)
        arrays = jax.device_put(arrays, jax.sharding.NamedSharding(mesh, jax.P()))
        by_environment = jax.P("environment")
        records = by_environment if over == "lax.map" else jax.P(None, "environment")
        function = jax.jit(
            jax.shard_map(
                lambda a, e, x, play=play, static=static: play(eqx.combine(a, static), e, x),
                mesh=mesh,
                in_specs=(jax.P(), by_environment, by_environment),
                out_specs=(by_environment, records),
                check_vma=False,
            )
        )
        episodes, actions = jax.device_put((episodes, actions), spread)
        cases[f"closura, {name}"] = Case(lambda f=function, a=arrays, e=episodes, x=actions: f(a, e, x), count * number)
    return measure(cases, turns, rate=True)


def coarse_steps(problem: Problem, solver: Any, closure: Any, steps: int) -> Case:
    """Coarse steps of one simulation in a scan, with a closure or without."""
    initial = problem.begin(key=jax.random.key(0))
    state, parameters = initial.state, initial.parameters

    @eqx.filter_jit
    def rollout(solver: Any, closure: Any, state: Any, parameters: Any) -> Any:
        return solver.march(state, parameters, problem.time_step, steps, closure)

    return Case(lambda: rollout(solver, closure, state, parameters), steps)


def steps(turns: int, quick: bool) -> list[Row]:
    """Milliseconds per coarse step."""
    number = 2 if quick else 50
    problem = make_problem("float32")
    cases = {"CGS": coarse_steps(problem, problem.coarse, None, 20 * number)}
    for name, baseline in problem.baselines.items():
        cases[name] = coarse_steps(problem, baseline, None, (2 if name == "spectral" else 10) * number)
    for precision in ("float32", "float64"):
        exact = make_problem(precision)
        fine, target = exact.reference, exact.begin(key=jax.random.key(0)).reference

        @eqx.filter_jit
        def trusted(fine: Any, target: Any) -> Any:
            return jax.lax.scan(
                lambda t, _: (fine.advance(t, None, None, problem.time_step), None), target, None, length=number
            )[0]

        cases[f"FGS {precision}"] = Case(lambda f=fine, t=target, r=trusted: r(f, t), number)
    networks: list[tuple[str, str, dict[str, Any]]] = [("ircnn", "ircnn", {})]
    networks += [(f"compact, {n} channels", "compact", {"channels": n}) for n in (16, 32, 48, 64)]
    networks += [("compact, 48 channels, forcing", "compact", {"output": "action"})]
    for label, name, options in networks:
        closure = build(name, problem.spec, explores=False, options=options, key=jax.random.key(0))
        cases[f"CGS + {label}"] = coarse_steps(problem, problem.coarse, closure, number)
    return measure(cases, turns, rate=False)


def gradient(turns: int, quick: bool) -> list[Row]:
    """Milliseconds per 8-step window of BPTTS, one simulation and eight, on stored reference."""
    problem = make_problem("float32")
    stored = with_store(problem, simulate_reference(problem, 8, 16, key=jax.random.key(0)))
    learner = BPTTS(BPTTSConfiguration())
    cases = {}
    for label, options in (("compact", {}), ("compact, 16 channels", {"channels": 16})):
        for count in (1,) if quick else (1, 8):
            closure = build("compact", stored.spec, explores=False, options=options, key=jax.random.key(0))
            weights, static = eqx.partition(closure, eqx.is_inexact_array)
            _, episodes, _ = begin(stored, count)

            def loss(weights: Any, episodes: Any, static: Any = static) -> jax.Array:
                whole = eqx.combine(weights, static)
                return jnp.mean(
                    by_groups(lambda e: learner.window(stored, whole, e, 8).loss, episodes, stored.grid.size)
                )

            name = f"{label}, {count} simulation{'s' * (count > 1)}"
            for kind, function in (("rollout", jax.jit(loss)), ("gradient", jax.jit(jax.grad(loss)))):
                cases[f"{name}: {kind}"] = Case(lambda f=function, w=weights, e=episodes: f(w, e), 1)
    return measure(cases, turns, rate=False)


def show(part: str, rows: list[Row]) -> None:
    """Print a table; the column "core" counts processor time."""
    rate = part in ("transitions", "sharding")
    width = max(len(row.name) for row in rows)
    title = f"{part} ({'transitions/s' if rate else 'ms'})"
    per = "/core s" if rate else "core ms"
    print(f"\n{title:{width}}{'median':>10}{'quartiles':>18}{per:>10}{'cores':>7}  {'' if rate else 'published, ms'}")
    for row in rows:
        digits = 0 if row.median >= 100 else 3 if row.median < 1 else 2
        spread = f"{row.lower:.{digits}f}-{row.upper:.{digits}f}"
        published = PUBLISHED.get(row.name, "")
        numbers = f"{row.median:10.{digits}f}{spread:>18}{row.processor:10.{digits}f}{row.cores:7.2f}"
        print(f"{row.name:{width}}{numbers}  {published}", flush=True)


def readings(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """What precision gives and what the code gives: ratios of transitions by wall time and by processor time.

    With NumPy in one process, closura may use all cores (wall time) or one (processor time).
    """
    table = {row.name: np.asarray([row.median, row.processor]) for row in rows}
    together = f"{CORES} environments, a thread each" if CORES > 1 else "1 environment"
    ours = {p: table[f"closura, fine solver, {p}: {together}"] for p in ("float32", "float64")}
    found = {}
    for memory in ("", ", kept memory"):
        for number in sorted({1, CORES}):
            last = f"{number} process{'es' * (number > 1)}"
            plain, single = (table[f"NumPy {p}{memory}: {last}"] for p in ("float64", "float32"))
            found[f"float32 against NumPy float64{memory}, {last}"] = ours["float32"] / plain
            found[f"  precision alone, NumPy float32 / float64{memory}, {last}"] = single / plain
            found[f"  code alone, float32 against NumPy float32{memory}, {last}"] = ours["float32"] / single
            found[f"  code alone, float64 against NumPy float64{memory}, {last}"] = ours["float64"] / plain
    return {name: (float(wall), float(processor)) for name, (wall, processor) in found.items()}


def main() -> None:
    """Measure the chosen parts, print tables, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, "shards"), default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a smoke test: the numbers mean nothing")
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    arguments = parser.parse_args()
    # float64 rows need it; float32 arrays stay float32.
    jax.config.update("jax_enable_x64", True)
    turns = 1 if arguments.quick else arguments.repeats
    functions = {"transitions": transitions, "sharding": sharding, "steps": steps, "gradient": gradient}
    if "shards" in arguments.parts:
        print(json.dumps([asdict(row) for row in shards(turns, arguments.quick)]))
        return
    versions = {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
    print(f"{CORES} cores, {jax.default_backend()}, {versions}, {turns} turns", flush=True)
    record: dict[str, Any] = {"cores": CORES, "backend": jax.default_backend(), "versions": versions, "turns": turns}
    record["xla_flags"] = os.environ.get("XLA_FLAGS", "")
    for part in arguments.parts:
        rows = functions[part](turns, arguments.quick)
        show(part, rows)
        record[part] = [asdict(row) for row in rows]
        if part == "transitions":
            record["readings"] = readings(rows)
            print(f"\nclosura, fine solver, {CORES} cores: times as fast by wall time, by processor time (target: 20)")
            for name, value in record["readings"].items():
                print(f"{name:75}{value[0]:7.1f}{value[1]:7.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
