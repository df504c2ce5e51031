"""The solver of Kolmogorov flow against KolSol's arrays, exponax's vorticity stepper and exact solutions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import golden_files, read

from closura.numerics.fourier import (
    coarsen,
    divergence_free,
    refine,
    resolved,
    restrict_spectrally,
    velocity_of,
    vorticity,
    wavenumbers,
)
from closura.problems.kolmogorov.flow import KolmogorovFlow


def half(coefficients):
    """KolSol's shifted (N, N, ...) coefficients as a half spectrum, without the column that it never feeds back."""
    n = coefficients.shape[0]
    spectrum = np.fft.ifftshift(coefficients, axes=(0, 1))[:, : n // 2 + 1].copy()
    spectrum[:, n // 2] = 0
    return np.moveaxis(spectrum, -1, 0) if spectrum.ndim == 3 else spectrum


def laminar(flow, reynolds):
    """``u = Re / n^2 sin(n y)``, as a spectrum."""
    y = 2 * np.pi * np.arange(flow.points) / flow.points
    u = np.broadcast_to(reynolds / flow.forcing**2 * np.sin(flow.forcing * y), (flow.points, flow.points))
    return flow.to_spectrum(jnp.asarray(np.stack([u, np.zeros_like(u)])))


def relative(a, b):
    return float(np.max(np.abs(np.asarray(a) - b)) / np.max(np.abs(b)))


@pytest.mark.parametrize("file", golden_files("kolsol", "*.npz"))
def test_kolsol_golden(file):
    data = read(file)
    facts = json.loads(str(data["meta_json"]))
    flow = KolmogorovFlow(2 * facts["nk"], facts["nf"], "2", "kolsol")
    reynolds, start = jnp.asarray(facts["re"], jnp.float64), jnp.asarray(half(data["u_hat_0"]))
    # Rounding, summed over a thousand steps of a flow that doubles differences every eight units: measured 6e-15.
    # The developed flow's tendency is a small difference of large terms: 8e-15.
    assert relative(flow.tendency(start, reynolds), half(data["du_hat_dt_0"])) < 1e-13
    step = facts["dt"], facts["scheme"]
    march = jax.jit(lambda s, steps: flow.march(s, reynolds, step[0], steps, step[1]), static_argnums=1)
    for steps in facts["steps"]:
        assert relative(march(start, steps), half(data[f"u_hat_{steps}"])) < 1e-10
    lines = np.abs(data["u_hat_0"][0]).max(), np.abs(data["u_hat_0"][:, 0]).max()
    if max(lines) < 1e-6 * np.abs(data["u_hat_0"]).max():
        # KolSol's fields show both Nyquist lines, which its products do not; in developed flow they are small.
        assert relative(flow.to_velocity(start), np.moveaxis(data["u_phys_0"], -1, 0)) < 1e-6


@pytest.mark.parametrize("file", golden_files("kolsol", "*_developed.npz"))
def test_nyquist_waves_left_out_change_little_where_the_flow_is_resolved(file):
    data = read(file)
    facts = json.loads(str(data["meta_json"]))
    start, reynolds = jnp.asarray(half(data["u_hat_0"])), jnp.asarray(facts["re"], jnp.float64)

    def end(padding, nyquist):
        flow = KolmogorovFlow(2 * facts["nk"], facts["nf"], padding, nyquist)
        return flow.march(start, reynolds, facts["dt"], 300, facts["scheme"])

    ends = [end(padding, "zero") for padding in ("3/2", "2")]
    reference = end("2", "kolsol")
    # The two paddings are both free of aliases; the rule for Nyquist waves moves velocities by 6e-8 at most.
    assert relative(ends[0], np.asarray(ends[1])) < 1e-13
    assert relative(ends[0], np.asarray(reference)) < 1e-7


def test_laminar_flow_is_steady():
    flow, reynolds = KolmogorovFlow(16), jnp.asarray(20.0)
    # Forcing and viscosity cancel to rounding of the largest term, N^2 / 2 = 128.
    assert float(jnp.max(jnp.abs(flow.tendency(laminar(flow, 20.0), reynolds)))) < 1e-11


def test_orders_of_the_integrators():
    flow, reynolds = KolmogorovFlow(16), jnp.asarray(20.0)
    start = laminar(flow, 20.0) + 200 * jnp.asarray(flow.random_start(3))

    def end(steps, integrator):
        return flow.march(start, reynolds, 0.8 / steps, steps, integrator)

    exact = end(640, "rk4")
    for integrator, order, steps in (("euler", 1, 160), ("rk4", 4, 20)):
        coarse, fine = (float(jnp.max(jnp.abs(end(n, integrator) - exact))) for n in (steps, 2 * steps))
        # Halving the step from where the leading term of the error dominates.
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_conserves_energy_without_viscosity_and_forcing():
    flow = KolmogorovFlow(32)
    velocity = 50 * jnp.asarray(flow.random_start(1, magnitude=100.0))
    convection = divergence_free(flow.convection(velocity))
    weights = np.where((np.arange(17) > 0) & (np.arange(17) < 16), 2.0, 1.0)
    work = jnp.sum(weights * (jnp.conj(velocity) * convection).real)
    size = jnp.sqrt(jnp.sum(weights * jnp.abs(velocity) ** 2) * jnp.sum(weights * jnp.abs(convection) ** 2))
    # Convection free of aliases does no work: an identity, to rounding.
    assert abs(float(work / size)) < 1e-14


def test_stays_free_of_divergence_and_keeps_the_mean():
    flow = KolmogorovFlow(32)
    start = jnp.asarray(flow.random_start(2, magnitude=500.0)).at[0, 0, 0].set(3.0)
    end = flow.march(start, jnp.asarray(34.0), 0.02, 50)
    kx, ky = wavenumbers(32)
    assert float(jnp.max(jnp.abs(kx * end[0] + ky * end[1]))) < 1e-10 * float(jnp.max(jnp.abs(end)))
    assert complex(end[0, 0, 0]) == pytest.approx(3.0, abs=1e-12)


def test_a_start_as_published_is_not_free_of_divergence():
    flow = KolmogorovFlow(64)
    kx, ky = wavenumbers(64)
    published, projected = (flow.random_start(0, offset=(0, 3), project=p) for p in (False, True))
    divergence = [np.max(np.abs(kx * s[0] + ky * s[1])) / np.max(np.abs(s)) for s in (published, projected)]
    assert divergence[0] > 1.0
    assert divergence[1] < 1e-13


def test_agrees_with_the_vorticity_stepper_of_exponax():
    exponax = pytest.importorskip("exponax")
    n, reynolds, step, steps = 64, 20.0, 0.005, 80
    flow = KolmogorovFlow(n)
    kx, ky = wavenumbers(n)
    # Large waves only: after 0.4 units the flow is still resolved by the 2/3 of the modes that exponax keeps.
    start = 1000 * jnp.asarray(flow.random_start(5)) * (np.hypot(kx, ky) < 3.5)
    ours = jnp.fft.irfft2(vorticity(flow.march(start, jnp.asarray(reynolds), step, steps)), s=(n, n))
    # Its vorticity, and so its forcing, has the opposite sign.
    stepper = exponax.stepper.KolmogorovFlowVorticity(
        2, 2 * np.pi, n, step, diffusivity=1 / reynolds, drag=0.0, injection_mode=4, injection_scale=-1.0, order=4
    )
    theirs = -exponax.repeat(stepper, steps)(-jnp.fft.irfft2(vorticity(start), s=(n, n))[None])[0]
    assert float(jnp.max(jnp.abs(ours - jnp.fft.irfft2(vorticity(start), s=(n, n))))) > 0.3  # something happened
    # Two integrators of fourth order, and another dealiasing.
    assert float(jnp.max(jnp.abs(ours - theirs)) / jnp.max(jnp.abs(theirs))) < 1e-7


def test_gradient_through_steps():
    flow = KolmogorovFlow(8, 2)
    start = jnp.asarray(flow.random_start(4, magnitude=50.0))

    def energy(amount):
        state = flow.march(start * amount, jnp.asarray(20.0), 0.05, 3)
        return jnp.sum(flow.to_velocity(state) ** 2)

    slope = jax.grad(energy)(1.0)
    h = 1e-5
    # Central differences: error h^2 and rounding 1e-16 / h.
    assert float(slope) == pytest.approx(float((energy(1 + h) - energy(1 - h)) / (2 * h)), rel=1e-7)


def test_float32_stays_float32():
    flow = KolmogorovFlow(16)
    state = jnp.asarray(flow.random_start(0), jnp.complex64)
    assert flow.march(state, jnp.asarray(34.0, jnp.float32), 0.01, 2).dtype == jnp.complex64


def test_finer_and_coarser_grids():
    rng = np.random.default_rng(0)
    field = jnp.asarray(rng.standard_normal((2, 16, 16)))
    spectrum = jnp.fft.rfft2(field) * resolved(16)
    fine = refine(spectrum, 24)
    there = jnp.fft.irfft2(fine, s=(24, 24))
    # Every third point of 24 is every second of 16.
    back = jnp.fft.irfft2(spectrum, s=(16, 16))
    np.testing.assert_allclose(there[:, ::3, ::3], back[:, ::2, ::2], atol=1e-14)
    np.testing.assert_allclose(coarsen(fine, 16), spectrum, atol=1e-12)
    np.testing.assert_allclose(restrict_spectrally(there, 16), back, atol=1e-14)


def test_vorticity_and_velocity_are_inverse():
    flow = KolmogorovFlow(16)
    state = jnp.asarray(flow.random_start(7, magnitude=100.0))
    np.testing.assert_allclose(velocity_of(vorticity(state)), state, atol=1e-11)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": 15}, "even number of points"),
        ({"points": 8}, "resolve forcing wavenumbers 1 to 3; got 4"),
        ({"points": 16, "padding": "4/3"}, "unknown padding"),
        ({"points": 16, "nyquist": "keep"}, "unknown rule for Nyquist waves"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises((ValueError, TypeError), match=message if "unknown" not in message else None):
        KolmogorovFlow(**settings)


def test_unknown_integrator():
    flow = KolmogorovFlow(16)
    with pytest.raises(Exception, match=r"integrator|euler"):
        flow.step(jnp.asarray(flow.random_start(0)), jnp.asarray(1.0), 0.1, "leapfrog")
