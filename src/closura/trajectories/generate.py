"""Making a data set of Kolmogorov flows: a run that can be killed at any moment and goes on bit for bit."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

import jax
import numpy as np

from closura.interruption import Interrupted, stop_requests
from closura.io.locks import locked
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
from closura.trajectories.simulate import Simulation
from closura.trajectories.stability import check_time_step
from closura.trajectories.store import FlowWriter, refuse_link

# Steps between looks at signals, the clock and blow-up are chosen to take about so long.
BLOCK_SECONDS = 0.5


class FlowDiverged(ArithmeticError):
    """A simulation that blew up."""


@dataclass(frozen=True)
class GenerationProgress:
    """Where a generation stands.

    Parameters
    ----------
    step, steps
        Time steps taken of each trajectory, of how many.
    frames
        Frames made of each trajectory.
    resumed
        Steps that an earlier call took.
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
