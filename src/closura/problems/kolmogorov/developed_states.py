"""Developed flow to begin from: a pool of fine states, kept on disk, each used in all its symmetric forms.

A pool is simulated once for a Reynolds number, a forcing, a grid and a split: independent chains from random fields,
first on fewer points (``spin_points``), past the transient; then a state every ``spacing`` units of time, each followed
on the fine grid for ``settle`` more, in which the waves that only the fine grid holds fill up. Splits have chains of
their own, so that no trajectory is shared.

Under shifts along x, under a shift by half a wave of the forcing along y with x mirrored, and under rotation by pi, a
solution stays one (Chandler and Kerswell 2013, doi 10.1017/jfm.2013.122, section 2.1): a beginning is a state of the
pool, moved by a random element of that group. For fields see :mod:`closura.offline.symmetries`.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Key, Scalar
from rich.console import Console

from closura.core.case import Case, CaseSampler
from closura.io.download import cache_folder
from closura.numerics.fourier import refine, wavenumbers
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.stored import kept_arrays

VERSION = 1
"""Goes up when the same settings make another pool."""


@dataclass(frozen=True)
class PoolSettings:
    """Everything that decides a pool of developed states.

    ``points`` and ``time_step`` are of the fine grid, ``spin_points`` and ``spin_step`` of the transient's. ``states``
    come from ``chains``; times are ``transient`` before the first state, ``spacing`` between states of a chain,
    ``settle`` on the fine grid. ``seed`` is that of the first chain; the others have the numbers after it.
    """

    reynolds: float
    forcing: int
    points: int
    time_step: float
    spin_points: int
    spin_step: float
    states: int
    chains: int
    transient: float
    spacing: float
    settle: float
    seed: int
    drag: float = 0.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.states < 1 or self.chains < 1 or self.states % self.chains:
            raise ValueError(f"a pool needs a whole number of states per chain; got {self.states} of {self.chains}")
        if self.spin_points > self.points:
            raise ValueError(f"the transient's grid cannot be finer than the pool's; got {self.spin_points} points")

    @property
    def name(self) -> str:
        """Name of the file that holds the pool."""
        # Settings that came later count where they are not at their defaults: pools from before keep their names.
        later = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        said = {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}
        text = json.dumps([VERSION, said])
        return f"kolmogorov-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


Pool = Complex[np.ndarray, "state 2 kx ky"]


def developed_states(settings: PoolSettings, *, cache: str | Path | None = None) -> Pool:
    """The pool, from memory, from disk, or simulated and kept.

    It lies in the folder ``cache`` (default: ``CLOSURA_CACHE``, else the user's cache folder). A damaged file there is
    replaced; if nothing can be written there, the pool is simulated in every process.
    """
    return _developed_states(settings, Path(cache) if cache is not None else cache_folder())


@lru_cache(maxsize=4)
def _developed_states(settings: PoolSettings, folder: Path) -> Pool:
    shape = (settings.states, 2, settings.points, settings.points // 2 + 1)
    console = Console(stderr=True)

    def make() -> dict[str, np.ndarray]:
        console.print(
            f"simulating {settings.states} states of developed flow at Reynolds number {settings.reynolds:g} (once)",
            highlight=False,
        )
        return {"states": simulate_pool(settings)}

    def say(words: str) -> None:
        console.print(words, highlight=False, soft_wrap=True)

    shapes = {"states": jax.ShapeDtypeStruct(shape, np.complex64)}
    return kept_arrays(folder / "flows" / settings.name, shapes, make, moving="states", say=say)["states"]


def simulate_pool(settings: PoolSettings) -> Pool:
    """Simulate a pool, in float32; see the module's text."""
    c = settings
    spin, fine = (
        KolmogorovFlow(points, c.forcing, drag=c.drag, strength=c.strength) for points in (c.spin_points, c.points)
    )
    reynolds = jnp.asarray(c.reynolds, jnp.float32)

    def march(flow: KolmogorovFlow, spectrum: Array, duration: float, step: float) -> Array:
        count = max(1, -int(-duration // step))
        return flow.march(spectrum, reynolds, duration / count, count)

    @jax.jit
    def chain(start: Complex[Array, "2 kx ky"]) -> Complex[Array, "state 2 kx_ ky_"]:
        def another(state: Array, _: None) -> tuple[Array, Array]:
            state = march(spin, state, c.spacing, c.spin_step)
            return state, state

        developed = march(spin, start, c.transient, c.spin_step) if c.transient else start
        _, states = jax.lax.scan(another, developed, None, length=c.states // c.chains)
        if c.points > c.spin_points:
            states = refine(states, c.points)
        if c.settle:
            states = jax.lax.map(lambda state: march(fine, state, c.settle, c.time_step), states)
        return jax.lax.map(fine.project, states)

    def run(number: int) -> np.ndarray:
        start = spin.random_start(c.seed + number)
        # As strong as the developed flow: a weak start would first grow to the laminar flow, which is much faster.
        rms = np.sqrt(np.mean(np.sum(np.fft.irfft2(start) ** 2, axis=0)))
        return np.asarray(chain(jnp.asarray(start / rms, jnp.complex64)))

    with ThreadPoolExecutor(min(4, c.chains)) as threads:
        pool = np.concatenate(list(threads.map(run, range(c.chains))))
    if not np.isfinite(pool).all():
        raise ValueError(
            f"the flow at Reynolds number {c.reynolds:g} diverges on {c.spin_points} or {c.points} points: take more "
            "fine steps"
        )
    return pool


def move(
    spectrum: Complex[Array, "2 kx ky"],
    shift: Float[Array, ""] | float,
    slides: Int[Array, ""] | int,
    turns: Int[Array, ""] | int,
    *,
    forcing: int,
) -> Complex[Array, "2 kx ky"]:
    """A flow moved by ``T_shift S^slides R^turns``, in terms of its half spectrum without Nyquist waves.

    ``T`` shifts along x, ``S`` by ``pi / forcing`` along y with x mirrored, ``R`` is half a turn.
    """
    real = spectrum.real.dtype
    kx, ky = (jnp.asarray(k, real) for k in wavenumbers(spectrum.shape[-2]))
    turned = jnp.where(turns % 2 == 1, -jnp.conj(spectrum), spectrum)
    odd = slides % 2 == 1
    mirrored = jnp.roll(jnp.flip(turned, axis=-2), 1, axis=-2) * jnp.asarray([-1, 1], real)[:, None, None]
    slid = jnp.where(odd, mirrored, turned) * jnp.exp(-1j * ky * jnp.asarray(slides * (np.pi / forcing), real))
    return (slid * jnp.exp(-1j * kx * jnp.asarray(shift, real))).astype(spectrum.dtype)


class KolmogorovCases(CaseSampler):
    """Draws a state of a pool, moved by a random symmetry; Reynolds number as parameter.

    With ``in_turn`` simulation i of a batch begins with state i, counted round, so that no state comes twice before all
    have come; otherwise states are random.
    """

    pool: Complex[Array, "state 2 kx ky"]
    reynolds: Float[Array, ""]
    forcing: int = eqx.field(static=True)
    in_turn: bool = eqx.field(static=True, default=False)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        for_state, for_symmetry = jax.random.split(key)
        return self._at(jax.random.randint(for_state, (), 0, self.pool.shape[0], dtype=jnp.int32), for_symmetry)

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        return self._at(number % self.pool.shape[0], key) if self.in_turn else self.sample(key=key)

    def _at(self, index: Int[Array, ""], key: Key[Scalar, ""]) -> Case:
        shift, slides, turns = jax.random.split(key, 3)
        moved = move(
            self.pool[index],
            jax.random.uniform(shift, (), jnp.float32, 0.0, 2 * np.pi),
            jax.random.randint(slides, (), 0, 2 * self.forcing, dtype=jnp.int32),
            jax.random.randint(turns, (), 0, 2, dtype=jnp.int32),
            forcing=self.forcing,
        )
        return Case(moved, {"reynolds": self.reynolds})
