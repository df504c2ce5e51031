"""The default reduced-order model: a causal transformer that steps the modes of the filtered flow, with noise.

    z_{n+1} = 2 z_n - z_{n-1} + scale * f(z_{n-W+1}, ..., z_n; xi_n) ,     xi_n standard normal

z are latent vectors of the spectral encoding, f answers in units of the usual change in one step. Members that start
from the same window and are stepped with their own noise are scored together by the fair ranked probability score
(see ``convolutional``), at every step of a horizon: noise is used as far as the window does not decide what follows,
and long runs keep their variance because the score punishes a missing spread as it punishes errors. What still piles
up over thousands of steps is taken out by moving runs a little towards the flow (``denoiser``).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.convolutional import ensemble_score
from closura.offline.data import FitData, Training, frames_apart
from closura.offline.denoiser import Denoiser, denoising_error
from closura.offline.descent import Descent, DescentConfiguration, LossAndMetrics
from closura.offline.encoding import SpectralEncoding, random_move
from closura.offline.filters import SpectralCutoff
from closura.offline.rom import ReducedOrderModel, reduced_model
from closura.offline.stored import StoredSettings, in_blocks, with_arrays
from closura.offline.transformer import Block, linear
from closura.seeds import generator_of
from closura.settings import Count, Natural, NotNegative, Positive, Share

ROOM = 1.2
"""Latent numbers may be so many times as large as the largest of training data."""

ENCODED = 1000
"""Training frames from which sizes of latent numbers are taken."""

Window = Float[Array, "time latent"]


@dataclass(frozen=True)
class LatentModelSettings(StoredSettings):
    """Settings of the default reduced-order model.

    Parameters
    ----------
    window
        Steps that the model sees, at least 2.
    horizons
        Pairs of a share of the updates and the steps that members are run, and scored, from there on.
    members
        Members per window while training.
    width, blocks, heads, noise
        Size of the transformer and number of random numbers per step.
    fairness
        Share of the fair score in the score.
    jitter
        Largest standard deviation of the noise that is added to the windows seen in training, in units of the usual
        change in one step: runs stray from the flow, and the model must know the way back.
    back
        Share of the way back to the flow that a disturbed state is moved at every step of a run, see ``denoiser``; 0:
        not at all.
    disturbance
        Size of the disturbance that is taken for granted there, in units of the latent numbers' size.
    disturbances, climate_steps
        Sizes that are tried after training, and steps of the runs that choose among them by their climate; none: the
        size above is kept.
    descent
        How it is trained.
    """

    window: Count = 4
    horizons: tuple[tuple[Share, Count], ...] = ((0.0, 1), (0.3, 4), (0.7, 8))
    members: Count = 2
    width: Count = 128
    blocks: Count = 3
    heads: Count = 4
    noise: Natural = 16
    fairness: Share = 0.95
    jitter: NotNegative = 0.01
    back: NotNegative = 0.3
    disturbance: NotNegative = 0.1
    disturbances: tuple[Positive, ...] = (0.1, 0.15, 0.2, 0.25)
    climate_steps: Count = 1600
    descent: DescentConfiguration = field(
        default_factory=lambda: DescentConfiguration(updates=10000, batch=64, learning_rate=2e-3, average=0.999)
    )

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("window", "width", "blocks", "heads", "noise", "back", "disturbance")

    @classmethod
    def preset(cls, preset: str) -> dict[str, Any]:
        """Settings of a fit: these, and what goes with them; KeyError where there is no such preset."""
        quick = cls(
            descent=replace(cls().descent, updates=1500, batch=32),
            horizons=((0.0, 1), (0.5, 2), (0.8, 4)),
            width=64,
            blocks=2,
            climate_steps=400,
        )
        validation = {"starts": 8, "members": 4, "time": 12.0, "every": 500}
        known: dict[str, dict[str, Any]] = {
            "default": {"settings": cls()},
            "quick": {"settings": quick, "validation": validation},
        }
        return known[preset]

    def training(self, data: FitData, every_frames: int, *, seed: int, key: PRNGKeyArray) -> Training:
        """A fit to a data set: latent vectors of all training frames are held, 200 bytes each."""
        if not isinstance(data.filtering, SpectralCutoff):
            raise ValueError(
                "the latent model needs a spectral filter, whose fields are a few waves; got "
                f"{data.filtering.name!r}: choose --filter.kind spectral"
            )
        every = frames_apart(every_frames, data.split.train)
        self.check_lengths([len(s) for s in data.split.train], every)
        sample = data.filtering(data.frames(data.split.train, ENCODED))
        encoding = SpectralEncoding.fitted(sample, data.filtering.cutoff, forcing=data.flow.forcing)
        latents = [
            encode_all(encoding, data.flow.read(s.trajectory, s.start, s.stop)[:: s.step].astype(np.float32))
            for s in data.split.train
        ]
        turns = jnp.asarray(encoding.turns())

        def loss(model: Any, windows: Any, *, key: Any) -> Any:
            return self.loss(model, windows, turns, key=key)

        return Training(
            Descent(self.descent, loss),
            self.initial(encoding, latents, every, key=key),
            lambda first: self.batches(latents, every, seed=seed, first=first),
        )

    def initial(
        self,
        encoding: SpectralEncoding,
        latents: Sequence[Float[np.ndarray, "_ latent"]],
        every: int,
        *,
        key: PRNGKeyArray,
    ) -> "LatentModel":
        """The untrained model, with the usual change and the largest size of latent numbers in training data."""
        return LatentModel(
            encoding,
            usual_change(latents, every),
            encoding.largest(latents, ROOM),
            _energies(encoding, latents),
            self.of_network(),
            key=key,
        )

    def batches(
        self, latents: Sequence[Float[np.ndarray, "_ latent"]], every: int, *, seed: int, first: int = 0
    ) -> Iterator[np.ndarray]:
        """Windows ``(batch, time, latent)`` for ever, from update ``first`` on, each as long as its horizon asks."""
        self.check_lengths([len(part) for part in latents], every)
        return self._batches(latents, every, seed, first)

    def _batches(self, latents: Sequence[np.ndarray], every: int, seed: int, first: int) -> Iterator[np.ndarray]:
        for update in itertools.count(first):
            length = (self.window + self.horizon(update) - 1) * every + 1
            rooms = np.array([max(0, len(part) - length + 1) for part in latents])
            rng = generator_of(seed, update)
            places = rng.integers(0, rooms.sum(), self.descent.batch)
            parts = np.searchsorted(np.cumsum(rooms), places, side="right")
            begins = places - (np.cumsum(rooms) - rooms)[parts]
            yield np.stack([latents[p][b : b + length : every] for p, b in zip(parts, begins, strict=True)])

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"the width must be a multiple of the heads; got {self.width} and {self.heads}")
        if self.climate_steps < 4:
            raise ValueError(f"runs that settle the climate need at least 4 steps; got {self.climate_steps}")
        if self.window < 2 or self.members < 2:
            raise ValueError(f"need a window of at least 2 steps and 2 members; got {self.window} and {self.members}")
        if not self.horizons or self.horizons[0][0] != 0:
            raise ValueError(f"horizons begin at share 0 of the updates; got {self.horizons}")

    def check_lengths(self, lengths: Sequence[int], every: int) -> None:
        """Refuse stretches of frames that the longest windows do not fit into."""
        longest = (self.window + max(steps for _, steps in self.horizons) - 1) * every + 1
        if longest > max(lengths):
            raise ValueError(
                f"windows of {longest} frames do not fit into stretches of {max(lengths)} frames: take a shorter "
                "window or horizon, or fewer frames per step"
            )

    def horizon(self, update: int) -> int:
        """Steps of the windows of an update."""
        return [steps for share, steps in self.horizons if update >= share * self.descent.updates][-1]

    def loss(
        self, model: "LatentModel", windows: Float[Array, "batch time latent"], turns: Array, *, key: PRNGKeyArray
    ) -> LossAndMetrics:
        """Mean score over the steps after each window, in units of the usual change in one step."""
        moves, noise = jax.random.split(key)
        batch, horizon = windows.shape[0], windows.shape[1] - model.window
        windows = jax.vmap(lambda w, k: random_move(model.encoding, turns, w, key=k))(
            windows, jax.random.split(moves, batch)
        )
        seen, reference = windows[:, : model.window], windows[:, model.window :]
        scale = jnp.asarray(model.change, windows.dtype)
        whole = windows.reshape(-1, windows.shape[-1])
        jitter, how_much, guessing, noise = jax.random.split(noise, 4)
        sizes = self.jitter * jax.random.uniform(how_much, (batch, 1, 1), windows.dtype)
        seen = seen + sizes * scale * jax.random.normal(jitter, seen.shape, windows.dtype)
        keys = jax.random.split(noise, (batch, self.members))
        runs = jax.vmap(lambda w, ks: jax.vmap(lambda k: model.rollout(w, horizon, key=k))(ks))(seen, keys)
        runs, reference = jnp.moveaxis(runs, 1, 0) / scale, reference / scale
        score = jnp.mean(ensemble_score(runs, reference, self.fairness))
        error = jnp.mean(runs, axis=0) - reference
        # Of other weights than the score: both are learned side by side.
        guesses = denoising_error(model.denoiser, whole, model.encoding, key=guessing)
        return score + guesses, {
            "score": score,
            "denoising": guesses,
            "error": jnp.sqrt(jnp.mean(jnp.square(error[:, 0]))),
            "spread": jnp.mean(jnp.std(runs[:, :, 0], axis=0)),
        }


@reduced_model("latent", settings=LatentModelSettings)
class LatentModel(ReducedOrderModel):
    """Steps a window of latent vectors.

    ``change`` is the root mean square of the change of each latent number in one step, over training data. A run that
    leaves the flow altogether is held where it can come back: within ``limit``, the largest size of each latent number,
    and ``energies``, the smallest and largest kinetic energy of the filtered field. The transformer's inner networks
    are twice as wide as its tokens.
    """

    encoding: SpectralEncoding
    change: tuple[float, ...] = eqx.field(static=True)
    limit: tuple[float, ...] = eqx.field(static=True)
    energies: tuple[float, float] = eqx.field(static=True)
    settings: LatentModelSettings = eqx.field(static=True)
    read: eqx.nn.Linear
    position: Float[Array, "time width"]
    stir: eqx.nn.Linear | None
    blocks: tuple[Block, ...]
    norm: eqx.nn.LayerNorm
    write: eqx.nn.Linear
    denoiser: Denoiser

    def __init__(
        self,
        encoding: SpectralEncoding,
        change: tuple[float, ...],
        limit: tuple[float, ...],
        energies: tuple[float, float],
        settings: LatentModelSettings,
        *,
        key: PRNGKeyArray,
    ) -> None:
        s, latent = settings, encoding.latent
        read, position, stir, write, denoise, *inner = jax.random.split(key, s.blocks + 5)
        self.encoding, self.change, self.limit, self.energies, self.settings = encoding, change, limit, energies, s
        # Tokens are a latent vector and its change, which is small and would drown in it.
        self.read = linear(2 * latent, s.width, key=read)
        self.position = 0.02 * jax.random.normal(position, (s.window, s.width), jnp.float32)
        self.stir = linear(s.noise, s.width, key=stir) if s.noise else None
        self.blocks = tuple(Block(s.width, s.heads, 2 * s.width, causal=True, key=k) for k in inner)
        self.norm = eqx.nn.LayerNorm(s.width, dtype=jnp.float32)
        write_all = linear(s.width, latent, key=write)
        self.denoiser = Denoiser(latent, key=denoise)
        self.write = eqx.tree_at(lambda layer: layer.weight, write_all, replace_fn=lambda w: 0.1 * w)

    def following(self, window: Window, *, key: PRNGKeyArray) -> Float[Array, " latent"]:
        """The latent vector after a window.

        The window is moved along x to where its last frame stands in a fixed place, and the answer back.
        """
        place = self.encoding.place(window[-1])
        return self.encoding.shift(self._following(self.encoding.shift(window, place), key), -place)

    def _following(self, window: Window, key: PRNGKeyArray) -> Float[Array, " latent"]:
        scale = jnp.asarray(self.change, window.dtype)
        slopes = jnp.diff(window, axis=0, prepend=2 * window[:1] - window[1:2]) / scale
        tokens = jax.vmap(self.read)(jnp.concatenate([window, slopes], axis=1)) + self.position
        if self.stir is not None:
            tokens = tokens.at[-1].add(self.stir(jax.random.normal(key, (self.settings.noise,), window.dtype)))
        for block in self.blocks:
            tokens = block(tokens)
        # The network corrects the last change, which goes on otherwise.
        change = slopes[-1] + self.write(self.norm(tokens[-1]))
        return self._held(window[-1] + scale * change)

    def _held(self, latent: Float[Array, " latent"]) -> Float[Array, " latent"]:
        """A latent vector within the sizes and the energies of the flow."""
        limit = jnp.asarray(self.limit, latent.dtype)
        latent = jnp.clip(latent, -limit, limit)
        energy = 0.5 * jnp.sum(jnp.square(latent * jnp.asarray(self.encoding.velocity_weights(), latent.dtype)))
        held = jnp.clip(energy, *self.energies)
        return latent * jnp.sqrt(held / jnp.maximum(energy, 1e-12))

    @property
    def window(self) -> int:
        return self.settings.window

    def start(self, frames: Float[Array, "window 2 x y"], *, key: PRNGKeyArray) -> Window:
        return jax.vmap(self.encoding.encode)(frames)

    def step(self, carry: Window, *, key: PRNGKeyArray) -> tuple[Window, Float[Array, " latent"]]:
        z = self.following(carry, key=key)
        window = jnp.concatenate([carry[1:], z[None]])
        if not self.settings.back:
            return window, z
        # All of the window moves: its changes are those of the flow, and stay.
        disturbance = jnp.asarray(self.settings.disturbance, z.dtype)
        move = self.settings.back * (self.denoiser(z, disturbance, self.encoding) - z)
        return window + move, z + move

    def decode(self, latent: Float[Array, " latent"]) -> Float[Array, "2 x y"]:
        return self.encoding.decode(latent)

    def rollout(self, window: Window, steps: int, *, key: PRNGKeyArray) -> Float[Array, "steps latent"]:
        """Latent vectors of the next steps, without the way back to the flow: what training scores."""

        def step(window: Window, key: PRNGKeyArray) -> tuple[Window, Float[Array, " latent"]]:
            z = self.following(window, key=key)
            return jnp.concatenate([window[1:], z[None]]), z

        return jax.lax.scan(step, window, jax.random.split(key, steps))[1]

    def facts(self) -> dict[str, Any]:
        own = {name: list(getattr(self, name)) for name in ("change", "limit", "energies")}
        return {"encoding": self.encoding.plain(), **own, **self.settings.facts()}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "LatentModel":
        rest = dict(facts)
        encoding = SpectralEncoding.from_plain(rest.pop("encoding"))
        own = [tuple(rest.pop(name)) for name in ("change", "limit", "energies")]
        settings = LatentModelSettings.from_facts(rest)
        return with_arrays(eqx.filter_eval_shape(cls, encoding, *own, settings, key=jax.random.key(0)), arrays)


def _energies(encoding: SpectralEncoding, latents: Sequence[Float[np.ndarray, "_ latent"]]) -> tuple[float, float]:
    """Smallest and largest kinetic energy of training data, and a fiftieth of that range beyond."""
    weights = encoding.velocity_weights()
    energy = np.concatenate([0.5 * np.sum(np.square(part * weights), axis=1) for part in latents])
    room = 0.02 * float(np.ptp(energy))
    return max(0.0, float(energy.min()) - room), float(energy.max()) + room


def encode_all(encoding: SpectralEncoding, frames: Float[np.ndarray, "time 2 x y"]) -> Float[np.ndarray, "time latent"]:
    """Latent vectors of many frames, float32."""
    function = jax.jit(jax.vmap(encoding.encode))
    return in_blocks(lambda chosen: function(jnp.asarray(frames[chosen], jnp.float32)), len(frames), 500)


def usual_change(latents: Sequence[Float[np.ndarray, "_ latent"]], every: int) -> tuple[float, ...]:
    """Root mean square change of each latent number over ``every`` frames."""
    changes = np.concatenate([part[every:] - part[:-every] for part in latents])
    return tuple(float(c) for c in np.sqrt(np.mean(np.square(changes, dtype=np.float64), axis=0)))
