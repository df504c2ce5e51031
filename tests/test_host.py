"""Solvers outside JAX: the protocol in three languages, failures, and problems made of NumPy functions."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura import Grid, Problem, evaluate
from closura.commands.new import new_problem
from closura.core.definition import PROBLEMS
from closura.host.pool import Pool, Program, close_pools, pool_of, use_workers
from closura.host.process import Worker, WorkerFailed
from closura.host.protocol import Layout, read_layout
from closura.host.solver import InProcess, StepSolver
from closura.problems.from_functions import _check
from closura.runs.training import check_gradient, suited_learner

CLIENTS = files("closura.host") / "clients"
LAYOUT = Layout((2, 6, 5), parameters=1)

PYTHON = """
    import os, signal, time
    import numpy as np

    class Decay:  # u <- u (1 - rate dt), and what can go wrong
        def __init__(self, wrong=""):
            self.wrong, self.steps = wrong, 0
        def reset(self, state, parameters):
            self.state, self.rate = state, parameters[0]
        def step(self, dt, action):
            self.steps += 1
            odd = self.state[0, 0, 0] > 5
            if odd and self.wrong == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if odd and self.wrong == "hang":
                time.sleep(60)
            if odd and self.wrong == "raise":
                raise RuntimeError("too large")
            self.state = self.state * (np.nan if odd and self.wrong == "nan" else 1 - self.rate * dt)
            return self.state

    def decay(state, dt, parameters):
        return state * (1 - parameters[0] * dt)

    class Counter:  # a memory of its own: adds the number of its steps
        def reset(self, state, parameters):
            self.state, self.steps = state, 0
        def step(self, dt, action):
            self.steps += 1
            self.state = self.state + self.steps - action[:1].mean()
            return self.state
"""
C = """
    #define _POSIX_C_SOURCE 200809L
    #define CLOSURA_WORKER_IMPLEMENTATION
    #include "closura_worker.h"
    #include <stdio.h>
    int main(void)
    {
      closura_worker w;
      int what;
      if (closura_worker_open(&w) != 0) return 1;
      puts("a line on standard output");
      while ((what = closura_worker_next(&w)) != CLOSURA_QUIT) {
        if (what == CLOSURA_STEP)
          for (int i = 0; i < w.components * w.n[0] * w.n[1] * w.n[2]; i++) w.state[i] *= 1 - w.parameter[0] * *w.dt;
        closura_worker_done(&w, 0);
      }
      closura_worker_close(&w);
      return 0;
    }
"""
FORTRAN = """
    program decay
      use closura_worker
      implicit none
      type(worker) :: w
      integer :: what
      if (.not. w%open()) stop 1
      print *, 'a line on standard output', shape(w%state)
      do
        what = w%next()
        if (what == closura_quit) exit
        ! Only the second component, first point of x, last of y doubles: tells the order of the indices.
        if (what == closura_step) then
          w%state = w%state * (1 - w%parameter(1) * w%dt)
          w%state(1, size(w%state, 2), 1, 2) = 7
        end if
        call w%done(.false.)
      end do
    end program decay
"""


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    use_workers(0)
    close_pools()


@pytest.fixture
def solvers(tmp_path: Path) -> Path:
    path = tmp_path / "solvers.py"
    path.write_text(textwrap.dedent(PYTHON))
    return path


def python(path: Path, name: str, *arguments: str, **more: object) -> Program:
    return Program((sys.executable, "-m", "closura.host.serve", f"{path}:{name}", *arguments), **more)


def batch(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    states = np.random.default_rng(0).normal(size=(size, *LAYOUT.state))
    return states, np.linspace(0.5, 1.5, size)[:, None], np.full(size, 0.1)


def compiled(tmp_path: Path, compiler: str, *arguments: str) -> Program:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    out = str(tmp_path / "solver")
    subprocess.run([compiler, "-O1", *arguments, "-o", out], check=True, cwd=tmp_path)
    return Program((out,))


@pytest.mark.parametrize("name", ["Decay", "decay"])
def test_a_python_solver(solvers: Path, name: str) -> None:
    pool, (states, rates, dt) = Pool(python(solvers, name), LAYOUT, 2), batch(5)
    found = pool.step(states, rates, dt)
    pool.close()
    # Each simulation has its own parameter; doubles go there and back unchanged.
    assert np.array_equal(found, states * (1 - rates[:, :, None, None] * 0.1))
    assert pool.counts.steps == 5
    assert not pool.counts.failures


def test_a_c_solver(tmp_path: Path) -> None:
    (tmp_path / "decay.c").write_text(textwrap.dedent(C))
    warnings = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
    program = compiled(tmp_path, "gcc", *warnings, f"-I{CLIENTS}", "decay.c")
    pool, (states, rates, dt) = Pool(program, LAYOUT, 2), batch(3)
    found = pool.step(states, rates, dt)
    pool.close()
    np.testing.assert_allclose(found, states * (1 - rates[:, :, None, None] * 0.1), rtol=1e-15)


def test_a_fortran_solver(tmp_path: Path) -> None:
    (tmp_path / "decay.f90").write_text(textwrap.dedent(FORTRAN))
    warnings = ("-std=f2008", "-Wall", "-Werror")
    program = compiled(tmp_path, "gfortran", *warnings, str(CLIENTS / "closura_worker.f90"), "decay.f90")
    pool, (states, rates, dt) = Pool(program, LAYOUT, 2), batch(3)
    found = pool.step(states, rates, dt)
    pool.close()
    expected = states * (1 - rates[:, :, None, None] * 0.1)
    expected[:, 1, 0, -1] = 7
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("wrong", "kind", "repeated"),
    [("crash", "crashed", 1), ("hang", "timed out", 1), ("raise", "refused", 0), ("nan", "not finite", 0)],
)
def test_a_failure_costs_its_own_simulation(solvers: Path, wrong: str, kind: str, repeated: int) -> None:
    pool, (states, rates, dt) = Pool(python(solvers, "Decay", wrong, limit=1.0), LAYOUT, 2), batch(4)
    states[2, 0, 0, 0] = 9.0
    found = pool.step(states, rates, dt)
    again = pool.step(states[:2], rates[:2], dt[:2])
    pool.close()
    assert np.isnan(found[2]).all()
    others = [0, 1, 3]
    assert np.array_equal(found[others], (states * (1 - rates[:, :, None, None] * 0.1))[others])
    assert np.array_equal(again, found[:2])
    assert pool.counts.failures == {kind: 1 + repeated}
    assert pool.counts.repeated == repeated
    assert kind in pool.counts.words()


def test_killed_workers_change_nothing(solvers: Path) -> None:
    """A step depends on state and parameters alone: it is made again by another process."""
    (states, rates, dt), whole = batch(4), Pool(python(solvers, "Decay"), LAYOUT, 2)
    pool = Pool(python(solvers, "Decay"), LAYOUT, 2)
    expected = found = states
    for number in range(6):
        expected, found = whole.step(expected, rates, dt), pool.step(found, rates, dt)
        if number % 2 == 0:
            for worker in pool._every:
                assert isinstance(worker, Worker)
                os.kill(worker.process_id, signal.SIGKILL)
    whole.close()
    pool.close()
    assert np.array_equal(found, expected)
    assert pool.counts.failures["crashed"] >= 3
    assert pool.counts.lost == 0


def test_solvers_with_a_memory_keep_their_simulations(solvers: Path) -> None:
    program = python(solvers, "Counter", has_memory=True, actions=1)
    pool, (states, rates, dt) = Pool(program, Layout((2, 6, 5), actions=1, parameters=1), 2), batch(3)
    action = np.ones((3, 1, 6, 5))
    first = pool.step(states, rates, dt, action, seen_as=np.float32)
    seen = first.astype(np.float32).astype(np.float64)
    second = pool.step(seen[::-1], rates[::-1], dt, 0 * action, seen_as=np.float32)
    begun = pool.step(states, rates, dt, 0 * action, seen_as=np.float32)
    pool.close()
    np.testing.assert_allclose(first, states + 1 - 1, rtol=1e-12)
    # The second step adds two: the processes have counted, and are found by their states in whatever order.
    np.testing.assert_allclose(second[::-1], first + 2, rtol=1e-12)
    np.testing.assert_allclose(begun, states + 1, rtol=1e-12)


def test_what_cannot_run_is_said(tmp_path: Path, solvers: Path) -> None:
    with pytest.raises(WorkerFailed, match="no-such-program cannot be started: No such file"):
        Worker(("./no-such-program",), LAYOUT, folder=str(tmp_path))
    with pytest.raises(WorkerFailed, match=r"ended in its start \(exit status 1\): AttributeError.*nothing"):
        python(solvers, "nothing").worker(LAYOUT)
    with pytest.raises(WorkerFailed, match="no answer to start within"):
        Worker((sys.executable, "-c", "import time; time.sleep(5)"), LAYOUT, start=0.2)
    with pytest.raises(ValueError, match="command must be a tuple"):
        Program(())
    with pytest.raises(ValueError, match="workers must be a number or dask://"):
        use_workers("many")
    with pytest.raises(ValueError, match="expected a worker's memory"):
        read_layout(memoryview(bytes(LAYOUT.size)))
    done = subprocess.run([sys.executable, "-m", "closura.host.serve"], capture_output=True, text=True)
    assert "CLOSURA_MEMORY" in done.stderr


def test_no_process_and_no_file_is_left(solvers: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    worker = python(solvers, "decay").worker(LAYOUT)
    number = worker.process_id
    worker.close()
    worker.close()  # again does nothing
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    del worker
    assert len(os.listdir("/proc/self/fd")) == before


# Inside compiled programs ---------------------------------------------------------------------------------------------


def smooth(state: np.ndarray, dt: float) -> np.ndarray:
    """Diffusion on a line, in NumPy."""
    n = state.shape[-1]
    return state + dt * n**2 * (np.roll(state, 1, -1) + np.roll(state, -1, -1) - 2 * state)


def test_numpy_and_processes_agree_under_jit_vmap_and_scan(tmp_path: Path) -> None:
    path = tmp_path / "smooth.py"
    path.write_text(
        "import numpy as np\n"
        + textwrap.dedent("""
        def smooth(state, dt):
            n = state.shape[-1]
            return state + dt * n**2 * (np.roll(state, 1, -1) + np.roll(state, -1, -1) - 2 * state)
    """)
    )
    grid, states = Grid((16,)), jax.random.normal(jax.random.key(0), (2, 3, 1, 16), jnp.float32)
    found = []
    for runs in (InProcess(smooth), python(path, "smooth")):
        solver = StepSolver(grid, runs)
        march = jax.jit(jax.vmap(jax.vmap(lambda s, solver=solver: solver.march(s, None, 1e-3, 4))))
        found.append(np.asarray(march(states)))
    expected = np.asarray(states, np.float64)
    for _ in range(4):
        expected = smooth(expected, 1e-3).astype(np.float32).astype(np.float64)
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found[1], expected)


def test_an_adjoint_gives_gradients(tmp_path: Path) -> None:
    def vjp(state: np.ndarray, dt: float, cotangent: np.ndarray) -> np.ndarray:
        return smooth(cotangent, dt)  # symmetric

    solver = StepSolver(Grid((16,)), InProcess(smooth, vjp=vjp))
    state = jax.random.normal(jax.random.key(1), (1, 16), jnp.float64)

    def loss(state: jax.Array) -> jax.Array:
        return jnp.sum(solver.march(state, None, 1e-3, 3) ** 3)

    gradient = jax.grad(loss)(state)
    direction = jax.random.normal(jax.random.key(2), state.shape, jnp.float64)
    change = (loss(state + 1e-6 * direction) - loss(state - 1e-6 * direction)) / 2e-6
    assert float(change) == pytest.approx(float(jnp.sum(gradient * direction)), rel=1e-7)  # centred differences: 1e-9
    assert solver.differentiable
    without = StepSolver(Grid((16,)), InProcess(smooth))
    assert not without.differentiable
    with pytest.raises(ValueError, match="has no gradient"):
        jax.grad(lambda s: jnp.sum(without.advance(s, None, 1e-3)))(state)


# Problems of functions ------------------------------------------------------------------------------------------------


def bumps(rng: np.random.Generator) -> np.ndarray:
    x = np.arange(64) / 64
    return np.exp(np.cos(2 * np.pi * (x - rng.random())))[None]


def diffusion(**changes: object) -> Problem:
    parts: dict = {"fields": ("u",), "grid": Grid((16,)), "dt": 1e-3, "coarse": smooth, "initial": bumps}
    return Problem.from_functions(**{**parts, "substeps": 16, **changes})


def test_a_problem_of_numpy_functions() -> None:
    problem = diffusion()
    assert not problem.coarse.differentiable
    results = evaluate(problem, {}, simulations=3, steps=10, key=jax.random.key(0), timing=False)
    error = np.asarray(results.of("error", "coarse"))[:, -1]
    # By hand: the same fields in NumPy.
    draws = [np.asarray(problem.begin.member(jnp.int32(i), key=k).reference[0])
             for i, k in enumerate(jax.random.split(jax.random.key(0), 3))]  # fmt: skip
    for found, fine in zip(error, draws, strict=True):
        coarse = fine = fine.astype(np.float64)
        coarse = coarse[:, ::4]
        for _ in range(10):
            coarse = smooth(coarse, 1e-3)
            for _ in range(16):
                fine = smooth(fine, 1e-3 / 16)
        expected = np.linalg.norm(coarse - fine[:, ::4]) / np.linalg.norm(fine[:, ::4])
        assert found == pytest.approx(expected, rel=2e-3)  # states are single precision, and the error is 1e-3 of them


def test_a_traceable_function_keeps_its_gradient() -> None:
    def step(state, dt):  # type: ignore[no-untyped-def]
        n = state.shape[-1]
        return state + dt * n**2 * (jnp.roll(state, 1, -1) + jnp.roll(state, -1, -1) - 2 * state)

    traced, called = diffusion(coarse=step), diffusion()
    assert traced.coarse.differentiable
    assert traced.spec.scale == called.spec.scale
    state = jnp.asarray(bumps(np.random.default_rng(1))[:, ::4], jnp.float32)
    ours, theirs = (each.coarse.advance(state, None, 1e-3) for each in (traced, called))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # single precision against double


def test_parameters_reach_numpy_functions() -> None:
    def step(state: np.ndarray, dt: float, parameters: dict) -> np.ndarray:
        return np.asarray(state) * (1 - dt * float(parameters["rate"]))

    def initial(rng: np.random.Generator) -> tuple:
        return np.ones((1, 64)), {"rate": rng.random()}

    problem = diffusion(coarse=step, initial=initial)
    begun = jax.vmap(lambda k: problem.begin(key=k))(jax.random.split(jax.random.key(0), 4))
    after = jax.vmap(lambda s, p: problem.coarse.advance(s, p, 0.5))(begun.state, begun.parameters)
    rates = np.asarray(begun.parameters["rate"])
    hash(jax.tree.structure(problem))  # compiled programs are found by it
    assert len(set(rates.tolist())) == 4
    np.testing.assert_allclose(after[:, 0, 0], 1 - 0.5 * rates, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coarse": lambda state: state}, r"the coarse step must be step\(state, dt\).* it takes 1 parameters"),
        ({"coarse": lambda state, dt: state[0]}, r"must give a state of its own shape, \(1, 16\); got \(16,\)"),
        ({"coarse": lambda state, dt: np.fft.no(state)}, "the coarse step fails on the first initial field"),
        (
            {"coarse": Program(("./missing",))},
            "coarse program fails on the first initial field: crashed: ./missing cannot",
        ),
        ({"fine": Program(("false",))}, "the fine program fails .* the process ended in its start .exit status 1"),
        ({"initial": lambda rng: np.ones(64)}, r"initial must give a field of shape \(1, 64\).*got \(64,\)"),
        ({"initial": lambda rng: np.full((1, 64), np.nan)}, "initial gives numbers that are not finite"),
        ({"dt": 0.0}, "dt of a closura.Problem must be a positive number"),
        ({"dt": 1e9}, "is not finite within 8 steps"),
    ],
)
def test_what_is_wrong_with_a_problem_is_said(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        diffusion(**changes)


def test_parts_of_the_wrong_kind_are_named() -> None:
    parts: dict = {"fields": ("u",), "grid": Grid((16,)), "dt": 1e-3, "coarse": smooth, "initial": bumps}
    parts |= {"fine": None, "ratio": 4, "horizon": 9, "reference": None}
    for name, wrong, said in (
        ("fields", "u", "fields of a closura.Problem must be a tuple of names"),
        ("coarse", "smooth", r"coarse of a closura.Problem must be a function step\(state, dt\)"),
        ("grid", 16, "grid of a closura.Problem must be a closura.Grid; got 16"),
    ):
        with pytest.raises(ValueError, match=said):
            _check(**{**parts, name: wrong})


def test_learners_that_need_a_gradient_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs the gradient of a step, and the solver of .* runs outside JAX"):
        check_gradient("bptts", diffusion())
    check_gradient("ppo", diffusion())
    (file,) = new_problem("spirals-again", "numpy", tmp_path)
    kind = PROBLEMS.find(str(file))
    assert suited_learner(kind.settings()) == "ppo"


def test_functions_of_a_file_run_in_workers_where_these_are_asked_for(tmp_path: Path) -> None:
    (file,) = new_problem("spirals-twice", "numpy", tmp_path)
    kind = PROBLEMS.find(str(file))
    settings = kind.settings(points=8)
    problem = kind(settings)
    use_workers(2)
    split = kind(settings)
    assert isinstance(problem.coarse.runs, InProcess)
    assert isinstance(split.coarse.runs, Program)
    begun = jax.vmap(lambda k: problem.begin(key=k))(jax.random.split(jax.random.key(0), 3))
    after = [jax.vmap(lambda s, p=p: p.coarse.advance(s, None, 0.1))(begun.state) for p in (problem, split)]
    assert np.array_equal(*after)
    assert pool_of(split.coarse.runs, Layout((2, 8, 8))).workers == 2
