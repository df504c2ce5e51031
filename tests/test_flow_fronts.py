"""Fronts of the Kolmogorov flow: solvers, limits that hold, errors and times by both references."""

import csv
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.closures import build
from closura.core import Method, Role, StepRule
from closura.core.front import Sweep
from closura.grids import Grid
from closura.io.weights import save_weights
from closura.metrics.pareto import Fronts
from closura.problems import KolmogorovConfiguration, TurbulenceConfiguration, build_problem
from closura.problems.kolmogorov.baselines import METHODS, model
from closura.problems.kolmogorov.baselines import classical as solver
from closura.problems.kolmogorov.dynamics import CoarseFlow, SpectralFlow, limits, on_grid
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.front import WATCHES, flow_front, usual_grids
from closura.reporting.benchmark.record import read_json
from closura.reporting.numbers import all_numbers
from closura.reporting.tables import write_json
from closura.simulation.benchmark import run_benchmark
from closura.simulation.cost import Timing
from closura.simulation.evaluate import evaluate
from closura.simulation.simulate import run
from closura.simulation.sweep import held_out_cases, problem_benchmark

KEY = jax.random.key(3)
SMALL = KolmogorovConfiguration(
    cells=12, fine_cells=16, spin_cells=16, pool=4, chains=4, transient=20.0, spacing=1.0, settle=0.0, finer=()
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Pools and references of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSURA_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def problem(cache):
    return build_problem(SMALL, "test")


def suite_of(problem, sweep, closures=None, configuration=SMALL, simulations=3):
    return problem_benchmark(
        flow_front, problem, configuration, sweep, closures or {}, {}, simulations=simulations, key=KEY
    )


def still(observed):
    """A closure that never answers anything."""
    return jnp.zeros_like(observed[:2])


@pytest.fixture(scope="module")
def benchmark(problem):
    sweep = Sweep(grids=(12, 24), schemes=("quick", "spectral"), courant=(0.4,), times=(1.0, 2.0))
    with pytest.MonkeyPatch.context() as patch:
        # Followed to 20 instead of 500 steps.
        patch.setitem(WATCHES, "kolmogorov", WATCHES["kolmogorov"]._replace(end=20))
        return suite_of(problem, sweep, {"still": still})


def errors(benchmark, name, reference="own"):
    one = benchmark.methods[name]
    return benchmark.error.of(benchmark.run(one).fields, benchmark.references[reference](one))


TWELVE = Grid((12, 12))


def simulated(solver, rule, times, cases):
    """Fields at the times, steps, and failures, on twelve points."""
    found = run(Method(solver, Role.BASELINE, rule), times, TWELVE, cases)
    return found.fields[:, 1:], found.steps, found.failed.any(axis=1)


def seen(spectrum, points):
    flow = SpectralFlow(KolmogorovFlow(spectrum.shape[-2], 4))
    return flow.to_grid(spectrum, Grid((points, points)))


# --- solvers as steppers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spectral", "quick", "central2-dynamic", "filtered-smagorinsky"])
def test_a_stepper_is_its_solver(problem, name):
    flow = solver(SMALL, name, 16)
    draws = held_out_cases(problem, 1, key=KEY)
    fields, steps, _ = simulated(model(flow), StepRule(0.05), (0.2,), draws)
    draw = jax.tree.map(lambda x: x[0], draws)
    true = flow.advance(flow.to_velocity(on_grid(draw.initial, 16)), draw.parameters["reynolds"], 0.05, 4)
    expected = CoarseFlow(flow).to_grid(true.astype(jnp.float32), TWELVE)
    # Four steps in float32 of velocities of size one.
    assert np.allclose(fields[0, 0], expected, atol=2e-5)
    assert steps.tolist() == [4]


def test_names_of_methods_say_what_they_are():
    for name, method in METHODS.items():
        assert solver(SMALL, name, 12).scheme == method.scheme
    assert solver(SMALL, "central2-dynamic", 12).dynamic
    assert float(solver(replace(SMALL, smagorinsky=0.25), "filtered-smagorinsky", 12).constant) == 0.25
    # What was tuned for another solver is not taken for this one, unless it is asked for.
    assert float(solver(TurbulenceConfiguration(), "filtered-smagorinsky", 64).constant) == pytest.approx(0.04)
    assert float(solver(TurbulenceConfiguration(), "central2-smagorinsky", 64).constant) == pytest.approx(0.16)


def test_the_grid_of_comparison_sees_the_waves_that_both_grids_hold():
    rng = np.random.default_rng(0)
    field = jnp.asarray(rng.normal(size=(2, 24, 24)))
    spectrum = KolmogorovFlow(24, 4).project(jnp.fft.rfft2(field))
    coarse = seen(spectrum, 12)
    assert np.allclose(jnp.fft.rfft2(coarse)[:, :6, :6], spectrum[:, :6, :6] / 4, atol=1e-11)
    # There and back: nothing is lost on the finer grid.
    assert np.allclose(seen(jnp.fft.rfft2(seen(spectrum, 48)), 24), jnp.fft.irfft2(spectrum, s=(24, 24)), atol=1e-12)


def test_limits_by_hand():
    # 2.828 and 2.785 are where RK4's region meets the axes; the shortest wave has the angle pi.
    assert limits("spectral").carried == pytest.approx(2.828 / np.pi, rel=1e-3)
    assert limits("central2").carried == pytest.approx(2.828, rel=1e-3)
    assert limits("central2").damped == pytest.approx(2 * 2.785 / 4, rel=1e-3)
    assert limits("spectral").damped == pytest.approx(2 * 2.785 / np.pi**2, rel=1e-3)
    # Without its fastest waves a spectral solver may take steps a third longer.
    assert 1.25 < limits("filtered").carried / limits("spectral").carried < 1.4
    # Third-order upwind has 1.74; the quadratic interpolation damps less.
    assert 1.74 < limits("quick").carried < 2.2


@pytest.mark.parametrize("scheme", ["filtered", "quick"])
def test_diffusion_at_rest_is_stable_at_the_limit_and_not_far_beyond(scheme):
    flow = solver(replace(SMALL, strength=0.0, reynolds=0.5), scheme, 16)
    stepper = model(flow)
    # The shortest wave that all hold, as a flow too slow to be carried.
    wave = 1e-6 * np.cos(7 * 2 * np.pi * np.arange(16) / 16)
    spectrum = jnp.fft.rfft2(jnp.asarray(np.stack([np.broadcast_to(wave, (16, 16)), np.zeros((16, 16))])))
    state = spectrum if scheme in ("spectral", "filtered") else flow.to_velocity(spectrum)
    parameters = {"reynolds": jnp.asarray(0.5)}

    def grown(share):
        dt = share * limits(scheme).carried / stepper.rate(state, parameters)
        after = jax.lax.fori_loop(0, 40, lambda _, s: stepper.step(s, parameters, dt), state)
        return float(jnp.max(jnp.abs(after)) / jnp.max(jnp.abs(state)))

    assert grown(0.95) < 1
    # The limit counts both axes at once; along one alone, with the seventh of eight waves, it is 2.6 times as far.
    assert not grown(3.0) < 1


# --- the benchmark ---------------------------------------------------------------------------------------------------


def test_usual_grids_hold_the_forcing():
    assert usual_grids(TurbulenceConfiguration()) == (32, 48, 64, 80, 96, 128, 192, 256)
    assert usual_grids(KolmogorovConfiguration()) == (10, 12, 16, 18, 24, 36, 48)


def test_cases_are_those_of_evaluate(problem):
    """States of the pool in turn: no two simulations share one before all have come."""
    start = problem.begin.member(jnp.asarray(2, jnp.int32), key=jax.random.split(KEY, 3)[2])
    case = jax.tree.map(lambda x: x[2], held_out_cases(problem, 3, key=KEY))
    assert np.allclose(problem.coarse.init(case)[0], start.state, atol=1e-6)


def test_errors_agree_with_evaluate(problem, benchmark):
    known = evaluate(replace(problem, finer={}), {"still": still}, simulations=3, steps=10, key=KEY, timing=False)
    for name, other in (("no model 12 dt 0.2", "no model"), ("still", "still")):
        # Ten coarse steps in float32; the problem's reference is that of "own".
        assert np.allclose(errors(benchmark, name), known.errors(other)[:, [5, 10]], rtol=1e-3, atol=1e-5)


def test_references_and_what_has_no_place_on_their_fronts(benchmark):
    assert list(benchmark.references) == ["own", "converged"]
    assert np.all(errors(benchmark, "reference: own") < 1e-10)
    apart = errors(benchmark, "reference: own", "converged")
    assert np.allclose(apart, errors(benchmark, "reference: converged", "own"), rtol=0.05)
    # Sixteen points do not hold this flow; and a finer grid comes nearer than the coarse one, by the converged
    # reference.
    assert np.all(apart > 1e-4)
    e = {n: np.median(errors(benchmark, f"spectral {n} C 0.4", "converged")[:, -1]) for n in (12, 24)}
    assert e[24] < 0.3 * e[12]
    assert all(not one.favoured_by for one in benchmark.methods.values() if one.role is not Role.REFERENCE)


def test_the_reference_is_kept_on_disk(problem, benchmark, cache):
    assert len(list((cache / "references").glob("*.npz"))) >= 2
    again = suite_of(problem, Sweep(grids=(12,), schemes=("quick",), times=(1.0, 2.0), quick=True))
    assert list(again.references) == ["own"]


def test_for_how_long_simulations_follow_the_reference(benchmark):
    long, short = benchmark.followed[1], benchmark.followed[0]
    assert (short.title, long.title, long.limit) == ("correlation > 0.95", "correlation > 0.8", pytest.approx(4.0))
    reference = benchmark.references["own"](next(iter(benchmark.methods.values())))
    assert np.allclose(long.of(reference, reference), 4.0)
    # Half the reference and half of another flow from the third look (t = 3) on: 1 before it, then far below.
    other = np.where(
        np.arange(reference.shape[1])[None, :, None, None, None] < 3, reference, np.roll(reference, 5, axis=-1)
    )
    assert np.all(long.of(other, reference) <= short.of(other, reference) + 1.2)
    broken = reference.copy()
    broken[:, 1:] = np.nan
    assert np.allclose(long.of(broken, reference), 1.0)
    fields = benchmark.run(benchmark.methods["quick 12 C 0.4"]).fields
    assert np.all(short.of(fields, reference) <= long.of(fields, reference) + 1e-9)


def test_steps_beyond_the_limit_are_tried_and_may_be_lost(problem):
    benchmark = suite_of(problem, Sweep(grids=(12,), schemes=("spectral",), times=(1.0,), quick=True))
    rules = [str(c.step) for c in benchmark.methods.values() if c.family == "spectral" and c.role is Role.BASELINE]
    assert rules == [f"C {share * limits('spectral').carried:.3g}" for share in (1.4, 0.9)]
    cases = held_out_cases(problem, 3, key=KEY)
    flow = solver(SMALL, "central2", 12)
    assert simulated(model(flow), StepRule(courant=40.0), (20.0, 40.0), cases)[2].all()
    # A flow that is too fast is not marched on in ever more steps.
    _, steps, failed = simulated(model(flow, 1e-3), StepRule(courant=0.4), (20.0, 40.0), cases)
    assert failed.all()
    assert steps.max() == 0


def test_a_benchmark_of_the_flow_comes_back_from_its_file(benchmark, tmp_path):
    names = ("reference: own", "quick 12 C 0.4", "still")
    few = replace(benchmark, methods={name: benchmark.methods[name] for name in names})
    found = run_benchmark(few, timing=Timing(2, 1, 0.001), settings={"command": "none"})
    again = read_json(write_json(found, tmp_path / "fronts.json"))
    assert Fronts(again).followed[1].title == "correlation > 0.8"
    for name in found.methods:
        # Four digits are written.
        for each in Fronts(found).followed:
            assert np.allclose(again.of(each.name, name), found.of(each.name, name), rtol=1e-3)
    kept = {c["name"]: c for c in all_numbers(again)["contenders"]}
    assert kept["reference: own"]["horizons"]["own"]["correlation > 0.8"]["at_the_end"] == 3
    fronts = Fronts(found)
    beside = fronts.longer("still", "own", "correlation_time_80")
    mean = fronts.length("still", "own", "correlation_time_80") - fronts.length(
        fronts.compared_with, "own", "correlation_time_80"
    )
    assert beside.value == pytest.approx(mean, abs=1e-9)
    assert beside.low <= beside.value <= beside.high


# --- the command ------------------------------------------------------------------------------------------------------

TINY = (
    "--fine-cells", "16", "--spin-cells", "16", "--pool", "4", "--chains", "4", "--transient", "20", "--spacing", "1",
    "--settle", "0", "--simulations", "2", "--repetitions", "1", "--batch", "2", "--times", "1", "2",
    "--scale", "quick", "--grids", "12", "--schemes", "quick",
)  # fmt: skip


def test_the_command(tmp_path, capsys, problem):
    """A closure of another solver corrects its own; tables tell how long each follows the reference."""
    closure = build("compact", problem.spec, explores=False, key=jax.random.key(0))
    weights = save_weights(tmp_path / "idle.safetensors", closure, architecture={"closure": "compact", "options": {}})
    main(["benchmark", "kolmogorov", *TINY, "--closure", f"idle={weights}", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "relative L2 error at t = 2" in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *(
            "configuration.toml",
            "table.md",
            "table.csv",
            "fronts.json",
            "results.nc",
            "report.html",
            "criterion.csv",
            "criterion-own.png",
            "front-own-t1.png",
            "front-own-t2.png",
            "follow-own.png",
        ),
    }
    found = json.loads((tmp_path / "out" / "fronts.json").read_text())
    assert found["horizons"] == {"correlation > 0.95": 2.0, "correlation > 0.8": 2.0}
    by_name = {c["name"]: c for c in found["contenders"]}
    idle, base = by_name["idle"], by_name["no model 12 dt 0.2"]
    assert idle["errors"]["own"]["2"]["mean"] == pytest.approx(base["errors"]["own"]["2"]["mean"], rel=1e-3)
    assert idle["horizons"]["own"]["correlation > 0.8"]["mean"] > 0
    assert "| correlation > 0.95 for | correlation > 0.8 for |" in (tmp_path / "out" / "table.md").read_text()
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(by_name)


def test_bad_input_is_one_line(capsys, cache):
    for arguments, words in (
        (("--schemes", "upwind5"), "unknown scheme 'upwind5'; valid: central2, quick, spectral, filtered"),
        (("--times", "0.3"), "no multiple of the coarse time step 0.2"),
        (("--grids", "8"), "8 cells per side resolve forcing wavenumbers 1 to 3; got 4"),
    ):
        with pytest.raises(SystemExit):
            main(["benchmark", "kolmogorov", *TINY, *arguments])
        said = capsys.readouterr().err
        assert words in said
        assert len(said.strip().splitlines()) <= 2
