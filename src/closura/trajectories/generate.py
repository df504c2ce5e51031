"""Making a data set of Kolmogorov flows: a run that can be killed at any moment and goes on bit for bit.

All trajectories are advanced together in float64. On the processor every trajectory is a call of one compiled program,
and threads hand the calls over side by side: a batch of fields in one program (``vmap``) leaves the cache and takes a
third longer, and one trajectory after the other (``lax.map``) leaves cores idle. A trajectory so does not depend on how
many others there are, bit for bit. On other devices the batch is one program.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.polynomial.polynomial import polyval

from closura.interruption import Interrupted, stop_requests
from closura.io.locks import locked
from closura.numerics.fourier import coarsen, resolved, vorticity, weights_of_modes
from closura.numerics.integrators import get_integrator
from closura.problems.kolmogorov.flow import FlowIntegrator, KolmogorovFlow
from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.flow_data import FlowData, open_flow
from closura.trajectories.resumption import (
    STATE,
    GenerationState,
    forget_replaced,
    put_back,
    put_in_place,
    resumable,
)
from closura.trajectories.schema import FlowDescription
from closura.trajectories.store import FlowWriter, refuse_link


def largest_stable(points: int, reynolds: float, speed: float, integrator: FlowIntegrator) -> float:
    """The largest time step at which no wave in the corner of the spectrum grows.

    The corner has ``k^2 = 2 (points / 2)^2``; it decays at the rate k^2 / Re and is carried along at ``speed``, the
    largest |u| + |v|. Necessary, not sufficient: for forward Euler 2 Re / k^2 without a speed.
    """
    polynomial = get_integrator("forward-euler" if integrator == "euler" else integrator).stability_polynomial
    half = points / 2
    rate = complex(-2 * half**2 / reynolds, half * speed)
    low, high = 0.0, 4.0 / abs(rate)
    for _ in range(60):
        middle = 0.5 * (low + high)
        stable = abs(polyval(middle * rate, polynomial)) <= 1
        low, high = (middle, high) if stable else (low, middle)
    return low


def check_time_step(configuration: GenerationConfiguration, speed: float) -> None:
    """Refuse a time step at which the shortest waves grow, by viscosity or by a speed that is already there.

    ValueError names the largest time step that could do.
    """
    c = configuration
    for reynolds in c.reynolds:
        limit = largest_stable(c.grid, reynolds, speed, c.integrator)
        if c.dt > limit:
            raise ValueError(
                f"dt {c.dt:g} is unstable at Reynolds number {reynolds:g} on {c.grid} points with {c.integrator}: it "
                f"must not exceed {_down(limit):g}"
            )


def _down(value: float) -> float:
    """Rounded down to two digits."""
    if value < 1e-300:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / unit) * unit


@lru_cache(maxsize=8)
def _programs(
    flow: KolmogorovFlow, time_step: float, integrator: FlowIntegrator, points: int
) -> tuple[Callable[[Array, Array, Array], Array], Callable[[Array, Array], tuple[Array, Array, Array]]]:
    """One trajectory, ahead by some steps, and looked at on ``points`` per side; compiled once per process."""

    @jax.jit
    def march(spectrum: Array, reynolds: Array, steps: Array) -> Array:
        return jax.lax.fori_loop(0, steps, lambda _, s: flow.step(s, reynolds, time_step, integrator), spectrum)

    @jax.jit
    def observe(spectrum: Array, reynolds: Array) -> tuple[Array, Array, Array]:
        weights = jnp.asarray(weights_of_modes(flow.points) / flow.points**4)
        energy = 0.5 * jnp.sum(weights * jnp.abs(spectrum) ** 2)
        dissipation = jnp.sum(weights * jnp.abs(vorticity(spectrum)) ** 2) / reynolds
        if points != flow.points:
            spectrum = coarsen(spectrum, points) * jnp.asarray(resolved(points), jnp.float64)
        return jnp.fft.irfft2(spectrum, s=(points, points)), energy, dissipation

    return march, observe


class Simulation:
    """The trajectories of a configuration at one moment: spectra ``(trajectory, 2, grid, grid/2 + 1)``, complex128.

    Use it within ``jax.enable_x64(True)``, and close it.
    """

    def __init__(
        self, configuration: GenerationConfiguration, spectra: Complex[np.ndarray, "trajectory 2 kx ky"]
    ) -> None:
        c = configuration
        march, observe = _programs(c.flow(), c.dt, c.integrator, c.points)
        reynolds = np.asarray([each for each, _ in c.members()], np.float64)
        self._threads: ThreadPoolExecutor | None = None
        if jax.default_backend() == "cpu":
            self._threads = ThreadPoolExecutor(min(c.total, os.cpu_count() or 1))
            self._march, self._observe = march, observe
            self._reynolds: list[Array] = [jnp.asarray(each) for each in reynolds]
            self._state: list[Array] = [jnp.asarray(each) for each in spectra]
        else:
            self._march = jax.jit(jax.vmap(march, in_axes=(0, 0, None)))
            self._observe = jax.jit(jax.vmap(observe))
            self._reynolds, self._state = [jnp.asarray(reynolds)], [jnp.asarray(spectra)]

    def advance(self, steps: int) -> None:
        """Take a number of time steps; how many at once does not change the result."""
        count = jnp.asarray(steps, jnp.int64)
        self._state = self._each(lambda s, r: self._march(s, r, count).block_until_ready())

    def observe(
        self,
    ) -> tuple[
        Float[np.ndarray, "trajectory 2 x y"], Float[np.ndarray, " trajectory"], Float[np.ndarray, " trajectory"]
    ]:
        """Velocity on the points that are kept, energy and dissipation of the whole simulation; float64."""
        parts = self._each(lambda s, r: tuple(np.asarray(each) for each in self._observe(s, r)))
        gather = np.stack if self._threads else np.concatenate
        velocity, energy, dissipation = (gather(each) for each in zip(*parts, strict=True))
        return velocity, energy, dissipation

    def spectra(self) -> Complex[np.ndarray, "trajectory 2 kx ky"]:
        """Where the trajectories stand."""
        gather = np.stack if self._threads else np.concatenate
        return gather([np.asarray(each) for each in self._state])

    def diverged(self) -> int | None:
        """The first trajectory that is not finite, or None."""
        finite = np.isfinite(self.spectra()).all(axis=(1, 2, 3))
        return None if finite.all() else int(np.argmin(finite))

    def close(self) -> None:
        """End the threads."""
        if self._threads:
            self._threads.shutdown()

    def _each(self, call: Callable[[Array, Array], Any]) -> list[Any]:
        if self._threads is None:
            return [call(s, r) for s, r in zip(self._state, self._reynolds, strict=True)]

        def one(pair: tuple[Array, Array]) -> Any:
            # The precision of JAX is a setting of each thread.
            with jax.enable_x64(True):
                return call(*pair)

        return list(self._threads.map(one, zip(self._state, self._reynolds, strict=True)))


# Steps between looks at signals, the clock and blow-up are chosen to take about so long.
BLOCK_SECONDS = 0.5


class FlowDiverged(ArithmeticError):
    """A simulation that blew up."""


@dataclass(frozen=True)
class GenerationProgress:
    """Where a generation stands: time steps taken of each trajectory, of how many; frames made; steps of an earlier
    call.
    """

    step: int
    steps: int
    frames: int
    resumed: int


def generate(
    configuration: GenerationConfiguration,
    path: str | Path,
    *,
    overwrite: bool = False,
    report: Callable[[GenerationProgress], None] | None = None,
    save_every: float = 30.0,
) -> FlowData:
    """Simulate Kolmogorov flows and keep their frames in a zarr store.

    An unfinished store of the same settings goes on where its last saved state is, also within the transient; the
    result is the same, bit for bit, as without the interruption (on the same machine). SIGINT and SIGTERM save the
    state first.

    Parameters
    ----------
    configuration
        What to simulate.
    path
        The zarr folder to make or to go on with.
    overwrite
        Replace a data set of flows that is there (never anything else). A finished one is kept beside the new one
        (``.NAME.replaced``) until that is finished too, and comes back if a simulation blows up.
    report
        Is told the progress.
    save_every
        Seconds between saved states; one is saved with every chunk of frames too.

    Raises
    ------
    FileExistsError
        If there is a finished data set and ``overwrite`` is false, or anything else, or a symbolic link.
    ValueError
        If an unfinished one has other settings or is damaged, or the time step cannot be stable.
    FolderInUse
        If another process is writing the data set.
    FlowDiverged
        If a simulation blows up.
    Interrupted
        After SIGINT or SIGTERM.
    """
    path = Path(path)
    refuse_link(path)
    with locked(path, "data set"), jax.enable_x64(True):
        writer = None
        if resumable(path, configuration, overwrite=overwrite):
            description = _described(configuration, path)
            try:
                state = GenerationState.load(path, configuration)
                writer = FlowWriter.reopen(path, description, state.frames)
            except ValueError:
                if not overwrite:
                    raise
        if writer is None:
            description, state = _begin(configuration, path, overwrite=overwrite)
            writer = FlowWriter.reopen(path, description, 0)
        simulation = Simulation(configuration, state.spectra)
        try:
            with stop_requests() as asked_to_stop:
                run = _Run(configuration, writer, simulation, state, save_every)
                run.go(report or (lambda _: None), asked_to_stop)
        except FlowDiverged as error:
            if put_back(path):
                raise FlowDiverged(f"{error}; the data set that was there is back") from error
            raise
        finally:
            simulation.close()
        data = open_flow(path)
        forget_replaced(path)
    return data


class _Run:
    """One call of :func:`generate`, from a state to the end."""

    def __init__(
        self,
        configuration: GenerationConfiguration,
        writer: FlowWriter,
        simulation: Simulation,
        state: GenerationState,
        save_every: float,
    ) -> None:
        self.configuration, self.writer, self.simulation = configuration, writer, simulation
        self.step, self.written, self.resumed = state.step, state.frames, state.step
        self.save_every, self.saved_at = save_every, time.monotonic()
        self.pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.block = 1

    def go(self, report: Callable[[GenerationProgress], None], asked_to_stop: Callable[[], bool]) -> None:
        c, chunk = self.configuration, self.writer.description.chunk_frames
        while self.frames < c.frames:
            due = c.transient_steps + self.frames * c.steps_per_frame
            if self.step < due:
                self._advance(min(self.block, due - self.step))
            if self.step == due:
                self.pending.append(self.simulation.observe())
            if asked_to_stop():
                self._save()
                raise Interrupted(
                    f"stopped at step {self.step} of {c.steps}, with {self.frames} of {c.frames} frames; go on with: "
                    f"{c.command(self.writer.path)}"
                )
            whole_chunk = self.pending and (self.frames % chunk == 0 or self.frames == c.frames)
            if whole_chunk or time.monotonic() - self.saved_at >= self.save_every:
                self._save()
            report(GenerationProgress(self.step, c.steps, self.frames, self.resumed))
        self.writer.finish(without=STATE)

    @property
    def frames(self) -> int:
        return self.written + len(self.pending)

    def _time(self) -> float:
        """Time since the first frame: negative in the transient."""
        return (self.step - self.configuration.transient_steps) * self.configuration.dt

    def _advance(self, steps: int) -> None:
        before, began = self._time(), time.monotonic()
        self.simulation.advance(steps)
        self.step += steps
        seconds = time.monotonic() - began
        self.block = max(1, min(2 * self.block, int(self.block * BLOCK_SECONDS / max(seconds, 1e-6)) + 1, 1000))
        bad = self.simulation.diverged()
        if bad is not None:
            c = self.configuration
            reynolds, seed = c.members()[bad]
            raise FlowDiverged(
                f"trajectory {bad} (Reynolds number {reynolds:g}, seed {seed}) blew up between times {before:g} and "
                f"{self._time():g} (0 is the end of the transient): lower --dt (it is {c.dt:g}) and start again with "
                "--overwrite"
            )

    def _save(self) -> None:
        """Frames first, then the state that knows them: a kill in between repeats the frames."""
        if self.pending:
            velocity, energy, dissipation = (np.stack(each, axis=1) for each in zip(*self.pending, strict=True))
            for i in range(len(velocity)):
                try:
                    self.writer.write(i, self.written, velocity[i], energy[i], dissipation[i])
                except ValueError as error:
                    raise FlowDiverged(f"{error}: lower --dt and start again with --overwrite") from error
            self.written += len(self.pending)
            self.pending = []
        GenerationState(self.step, self.written, self.simulation.spectra()).save(self.writer.path)
        self.saved_at = time.monotonic()


def _described(configuration: GenerationConfiguration, path: Path) -> FlowDescription:
    description = configuration.description()
    return replace(description, attributes={**description.attributes, "command": configuration.command(path)})


def _begin(
    configuration: GenerationConfiguration, path: Path, *, overwrite: bool
) -> tuple[FlowDescription, GenerationState]:
    """A store without frames, with the first state; it appears under its name at once."""
    starts = configuration.starts()
    velocity = np.fft.irfft2(starts, s=(configuration.grid, configuration.grid))
    check_time_step(configuration, float(np.abs(velocity).sum(axis=1).max()))
    description, state = _described(configuration, path), GenerationState(0, 0, starts)
    temporary = path.with_name(f".{path.name}.{token_hex(4)}.new")
    try:
        state.save(FlowWriter.create(temporary, description).path)
        put_in_place(temporary, path, overwrite=overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return description, state
