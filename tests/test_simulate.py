"""The one driver of comparisons, on a wave whose solution is known."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core import Case, Method, Metric, Role, Solver, StepRule
from closura.core.case import stacked
from closura.grids import Grid
from closura.simulation.march import schedule
from closura.simulation.simulate import simulate, stored_reference

SPEED = 1.0


class Wave(Solver):
    """u_t + c u_x = 0 on a periodic interval by differences of order 1, 3 or 5 and SSP-RK3."""

    grid: Grid = eqx.field(static=True)
    order: int = eqx.field(static=True, default=1)

    @property
    def courant_limit(self):
        return {1: 1.2, 3: 1.6, 5: 1.4}[self.order]

    def rate(self, state, parameters):
        return jnp.asarray(SPEED / self.grid.spacing[0])

    def slope(self, u):
        weights = {1: {-1: -1, 0: 1}, 3: {-2: 1 / 6, -1: -1, 0: 1 / 2, 1: 1 / 3},
                   5: {-3: -1 / 30, -2: 1 / 4, -1: -1, 0: 1 / 3, 1: 1 / 2, 2: -1 / 20}}[self.order]  # fmt: skip
        return -SPEED * sum(w * jnp.roll(u, -k, axis=-1) for k, w in weights.items()) / self.grid.spacing[0]

    def advance(self, state, parameters, dt):
        one = state + dt * self.slope(state)
        two = 0.75 * state + 0.25 * (one + dt * self.slope(one))
        return state / 3 + 2 / 3 * (two + dt * self.slope(two))


class Exact(Solver):
    """The initial field, carried along: the state is the case's Fourier series and the time."""

    grid: Grid = eqx.field(static=True)

    def init(self, case):
        return (jnp.fft.rfft(case.initial), jnp.zeros(())), None

    def advance(self, state, parameters, dt):
        return state[0], state[1] + dt

    def to_grid(self, state, grid):
        waves = state[0] * jnp.exp(-2j * jnp.pi * jnp.arange(state[0].shape[-1]) * SPEED * state[1])
        return jnp.fft.irfft(waves, n=2 * (state[0].shape[-1] - 1))[
            :, :: (2 * (state[0].shape[-1] - 1)) // grid.shape[0]
        ]


FINE, COARSE = Grid((256,)), Grid((32,))
L2 = Metric("error", lambda f, g: jnp.sqrt(jnp.mean((f - g) ** 2) / jnp.mean(g**2)), "relative L2 error", percent=True)
LARGEST = Metric("largest", lambda f, g, t: float(np.abs(f - g).max()), series=True)


@pytest.fixture(scope="module")
def cases():
    x = np.arange(256) / 256
    return stacked([Case(jnp.asarray(np.exp(np.sin(2 * np.pi * (x + s)))[None])) for s in (0.0, 0.3, 0.7)])


def methods(courant=0.4):
    dt = courant * COARSE.spacing[0] / SPEED
    return {
        "upwind1": Method(Wave(COARSE), Role.UNCORRECTED, StepRule(dt=dt, exact=True)),
        "upwind5": Method(Wave(COARSE, 5), Role.BASELINE, StepRule(dt=dt, exact=True)),
        "fine": Method(Wave(Grid((128,)), 5), Role.FINE_BASELINE, StepRule(courant=0.5)),
        "exact": Method(Exact(FINE), Role.REFERENCE, StepRule(dt=dt)),
        "damped": Method(
            Wave(COARSE, 5), Role.CLOSURE, StepRule(dt=dt, exact=True), closure=lambda u: 0.01 * (u - u.mean()),
            corrects="upwind5",
        ),
    }  # fmt: skip


def run(cases, **options):
    times = [0.4 * COARSE.spacing[0] * k for k in (4, 8)]
    return simulate(
        "wave", methods(), cases, reference="exact", times=times, grid=COARSE, metrics=(L2, LARGEST), error="error",
        **options,
    )  # fmt: skip


def test_errors_are_those_of_the_modified_equation(cases):
    found = run(cases)
    # First-order upwind with Courant number C damps wave k by exp(-(1 - 0) c dx k^2 t / 2) to leading order, as SSP-RK3
    # adds nothing of first order: of exp(sin x) nearly all is in k = 1 and 2.
    x = np.arange(256) / 256
    waves = np.fft.rfft(np.exp(np.sin(2 * np.pi * x))) / 256
    t, k = found.times[-1], 2 * np.pi * np.arange(129)
    lost = np.sqrt(2 * np.sum(np.abs(waves[1:] * (1 - np.exp(-(k[1:] ** 2) * COARSE.spacing[0] * t / 2))) ** 2))
    size = np.sqrt(np.mean(np.exp(np.sin(2 * np.pi * x)) ** 2))
    assert np.allclose(found.errors("upwind1")[:, -1], lost / size, rtol=0.05)
    assert found.errors("upwind5")[:, -1].max() < 0.01 * found.errors("upwind1")[:, -1].min()
    assert found.errors("fine")[:, -1].max() < 0.05 * found.errors("upwind5")[:, -1].max()
    assert np.all(found.errors("exact") == 0)
    assert found.of("largest", "upwind1").shape == (3,)
    assert found.corrects("damped") == "upwind5"
    assert found.errors("damped")[:, -1].min() > found.errors("upwind5")[:, -1].max()


def test_order_of_convergence(cases):
    errors = []
    for n in (16, 32, 64):
        grid = Grid((n,))
        # Steps short enough that the error in time, of third order, does not count.
        one = Method(Wave(grid, 3), Role.BASELINE, StepRule(courant=0.1))
        both = {"one": one, "exact": methods()["exact"]}
        found = simulate(
            "wave", both, cases, reference="exact", times=[0.25], grid=Grid((16,)), metrics=(L2,), error="error"
        )
        errors.append(found.errors("one")[:, -1].mean())
    orders = np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))
    assert np.all(orders > 2.7)


def test_a_diverging_method_is_marked_and_costs_no_other(cases):
    wild = Method(Wave(COARSE), Role.BASELINE, StepRule(dt=0.125, exact=True))
    wild = {"wild": wild, "exact": methods()["exact"]}
    found = simulate(
        "wave", wild, cases, reference="exact", times=[1.0, 10.0, 50.0], grid=COARSE, metrics=(L2,), error="error"
    )
    assert found.diverged("wild") == 3
    assert np.all(found.diverged_at("wild") > 0)
    assert found.diverged("exact") == 0


def test_fields_costs_and_provenance_are_kept(cases):
    found = run(cases, fields=2, timing=True, provenance={"command": "x"}, components=("u",))
    assert found.fields("upwind5").shape == (2, 3, 1, 32)
    assert found.milliseconds("upwind5") > 0
    assert found.milliseconds("fine") > 0
    assert found.provenance == {"command": "x"}


def test_what_is_refused(cases):
    one = methods()
    with pytest.raises(ValueError, match="the reference must be one of the methods with that role"):
        simulate("wave", one, cases, reference="fine", times=[0.1], grid=COARSE, metrics=(L2,), error="error")
    with pytest.raises(ValueError, match="no multiple of the time step"):
        schedule(StepRule(dt=0.1, exact=True), [0.25])
    with pytest.raises(ValueError, match="times must grow"):
        schedule(StepRule(dt=0.1), [0.2, 0.1])
    with pytest.raises(ValueError, match="a positive dt or a positive"):
        StepRule(dt=0.1, courant=0.5)
    with pytest.raises(ValueError, match="a positive dt or a positive Courant number"):
        StepRule(courant=-1.0)


class Filling(Solver):
    """u' = -1 in every cell, which must stay positive."""

    grid: Grid = eqx.field(static=True)
    invalid = "negative"

    def advance(self, state, parameters, dt):
        return state - dt

    def rate(self, state, parameters):
        return jnp.asarray(1.0)

    def valid_cells(self, state):
        return state[0] > 0

    def is_valid(self, state):
        return jnp.all(self.valid_cells(state))


@pytest.mark.parametrize("rule", [StepRule(courant=0.3, even=False), StepRule(dt=0.3, even=False)])
def test_ends_of_cases_whole_steps_and_failures_with_step_and_cell(rule):
    grid = Grid((4,))
    start = lambda low: jnp.asarray([[3.0, 2.0, low, 3.0]])
    ends = ((2.0, 1.0), (0.5, 1.0), (2.0, 0.2))
    cases = stacked([Case(start(low), end=jnp.asarray(end)) for low, end in ends])
    steps = Metric("steps", lambda run, reference, case: run.steps, run=True)
    drop = Metric("drop", lambda run, reference, case: case.initial[0, 0] - run.fields[-1, 0, 0], run=True)
    one = {"one": Method(Filling(grid), Role.BASELINE, rule, facts={"points": 4}),
           "still": Method(Exact(Grid((4,))), Role.REFERENCE, StepRule(courant=1.0))}  # fmt: skip
    found = simulate(
        "fall", one, cases, reference="still", times=[0.5, 1.0], grid=grid, metrics=(steps, drop), error="drop"
    )
    # 0.3 + 0.2 to half the end, and again; the second case leaves 0.5 behind in its second step.
    assert found.of("steps", "one").tolist() == [4, 2, 2]
    assert found.of("drop", "one") == pytest.approx([1.0, np.nan, 0.2], rel=1e-6, nan_ok=True)
    (failure,) = found.failures
    assert (failure["case"], failure["step"], failure["cell"], failure["what"]) == (1, 2, [2], "negative")
    assert "time" not in found.data.coords
    assert found.data["points"].sel({"method": "one"}) == 4


def test_stored_fields_are_a_reference():
    grid = Grid((4,))
    start = [np.full((1, 4), value) for value in (1.0, 2.0)]
    cases = stacked([Case(jnp.asarray(each), {"number": jnp.asarray(k, jnp.int32)}) for k, each in enumerate(start)])
    fields = np.stack([np.stack([each, each - 0.5, each - 0.75]) for each in start])
    methods = {"falls": Method(Filling(grid), Role.BASELINE, StepRule(courant=0.5)),
               "known": stored_reference(grid, fields)}  # fmt: skip
    off = Metric("off", lambda f, g: jnp.max(jnp.abs(f - g)))
    found = simulate(
        "fall", methods, cases, reference="known", times=[0.5, 1.0], grid=grid, metrics=(off,), error="off", batch=2
    )
    # The solver falls by 1 in unit time, the stored fields by less; the first case has nothing left at the end.
    assert found.errors("falls")[1] == pytest.approx([0, 0, 0.25])
    assert found.diverged_at("falls").tolist() == [2, -1]
    assert found.diverged("known") == 0
