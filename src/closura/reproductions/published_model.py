"""The published reduced-order model: a variational autoencoder, and a transformer over its latents.

**The offset.** The newest latent vector z_n of a window is withheld, and the answer is taken for n + 1; the next window
has lost its oldest vector and gained z_n, and its answer is taken for n + 2. The transformer thus always predicts two
steps after the last vector that it sees, in training and afterwards.

**Two ways to run it.** "mean": the first frame is encoded without noise, the window is filled with copies of it, and
latents follow each other; nothing is random, and this is what was reported as the mean. "ensemble": the window holds
decoded fields, which are all encoded again, with fresh noise, at every step; this gave the published spread. It costs a
window of encodings per step and member, and is another recursion than the first.

Source as :mod:`closura.reproductions.dense_autoencoder`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.data import FitData, Training, frames_apart
from closura.offline.descent import Descent, DescentConfiguration, LossAndMetrics
from closura.offline.rom import ReducedOrderModel, reduced_model
from closura.offline.stored import StoredSettings, with_arrays
from closura.reproductions.dense_autoencoder import DenseAutoencoder, Variant
from closura.reproductions.published_transformer import PublishedTransformer
from closura.settings import Count, Natural, NotNegative
from closura.trajectories import FlowData, Segment, Windows

Path = Literal["mean", "ensemble"]
Latents = Float[Array, "time latent"]
EPOCH = 47
"""Updates per published epoch: 370 windows of each of 8 trajectories, in batches of 64."""
EPOCHS = 5000
RATES = ((0.0, 1.0), (0.1, 0.5), (0.2, 0.1), (0.4, 0.05), (0.6, 0.01), (0.8, 0.005))
"""Published learning rates in units of 1e-4, from shares of 5000 epochs on (0, 500, 1000, 2000, 3000, 4000)."""


def published_descent(epochs: int = EPOCHS) -> DescentConfiguration:
    """The published optimiser: Adam with coupled decay of the weights (L2), a table of rates, and nothing else."""
    return DescentConfiguration(
        updates=epochs * EPOCH,
        batch=64,
        learning_rate=1e-4,
        schedule="steps",
        steps=RATES,
        warmup=0,
        weight_decay=1e-5,
        coupled=True,
        clip=0.0,
        average=0.0,
    )


class PaddedWindows(Windows):
    """Windows of ``past`` frames up to each frame of a segment and ``future`` after it; those before the segment are
    zero.

    As published: a window for every frame i that has ``future`` frames after it, T - future in a segment of T.
    """

    def __init__(self, data: FlowData, segments: Sequence[Segment], past: int, future: int) -> None:
        # Counted as windows of frame i and those after it; only the reading knows of those before.
        super().__init__(data, segments, future + 1)
        self.past, self.length = past, past + future

    def frames_of(self, window: int) -> tuple[int, range]:
        """Trajectory and frames of a window, those that there are: the last of ``length``."""
        trajectory, frames = super().frames_of(window)
        segment = self.segments[int(np.searchsorted(self._ends, window, side="right"))]
        now = (frames.start - segment.start) // segment.step
        return trajectory, segment.frames[max(0, now - self.past + 1) : now - self.past + 1 + self.length]

    def _fill(self, out: np.ndarray, window: int) -> None:
        missing = self.length - len(self.frames_of(window)[1])
        out[:missing] = 0
        super()._fill(out[missing:], window)


def steps_of(segments: Sequence[Segment], every_frames: int) -> list[Segment]:
    """Segments whose frames are a step of the model apart, with all frames in one of them."""
    apart = frames_apart(every_frames, segments)
    return [
        Segment(s.trajectory, s.start + shift * s.step, s.stop, every_frames)
        for s in segments
        for shift in range(min(apart, len(s)))
    ]


@dataclass(frozen=True)
class PublishedModelSettings(StoredSettings):
    """Settings of the published reduced-order model; the defaults are those of the shipped one.

    The published options for which there is nothing here have no effect there either: lr (the table of rates is used),
    linear_autoencoder, noise_p, seq_model_weight; hidden_dim has to equal num_obs.

    Parameters
    ----------
    past
        Frames per window (seq_len). The shipped model has 30, the published command asks for 40.
    horizon
        Steps that the transformer is run in training, on its own answers and without noise (pred_horizon; likewise).
    latent
        Length of latent vectors (num_obs).
    widths, variant
        Of the autoencoder (AE_Model); see :class:`~closura.reproductions.dense_autoencoder.DenseAutoencoder`.
    working_points
        Points per side on which the layers work; 0: those of the data, as published.
    blocks, heads
        Of the transformer (nattblocks, nheads).
    causal
        Whether its tokens are kept from later ones (published: a mask is made and not used).
    conditioned
        Give the transformer the Reynolds number instead of attention among tokens.
    state_weight
        Weight of the squared error of predicted frames (lambda_stateloss).
    autoencoder_weight
        Weight of the autoencoder's loss.
    divergence_weight
        Weight of the Kullback-Leibler divergence within it (beta_VAE); altogether 100 times that.
    energy_weight
        Weight of the squared error of the mean kinetic energy.
    path, warm
        How the model is run afterwards; see :class:`PublishedModel`.
    descent
        How it is trained: 5000 epochs of 47 batches of 64 windows.
    """

    past: Count = 30
    horizon: Count = 30
    latent: Count = 64
    widths: tuple[Count, ...] = (512, 256, 128)
    variant: Variant = "big"
    working_points: Natural = 0
    blocks: Count = 2
    heads: Count = 8
    causal: bool = False
    conditioned: bool = False
    state_weight: NotNegative = 1.0
    autoencoder_weight: NotNegative = 100.0
    divergence_weight: NotNegative = 5e-4
    energy_weight: NotNegative = 1.0
    path: Path = "mean"
    warm: bool = False
    descent: DescentConfiguration = field(default_factory=published_descent)

    OF_NETWORK: ClassVar[tuple[str, ...]] = (
        *("past", "latent", "widths", "variant", "working_points", "blocks", "heads"),
        *("causal", "conditioned", "path", "warm"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.past < 2:
            raise ValueError(f"past must be at least 2 steps; got {self.past}")
        if self.latent % self.heads:
            raise ValueError(f"the latents must be a multiple of the heads; got {self.latent} and {self.heads}")

    @classmethod
    def preset(cls, preset: str) -> dict[str, Any]:
        """Settings of a fit; KeyError where there is no such preset.

        "paper" is as published: seconds per update, 235 000 updates (5000 epochs of 8 trajectories of 96 time units),
        and a split that leaks. "default" trains within twenty minutes on one core, on whole trajectories. Its layers
        work on 16 points, which hold all waves of the published filter; window and horizon have 10 steps instead of
        30, batches 32 windows instead of 64; the rate begins ten times as large and falls as a cosine within 5000
        updates, with clipped gradients and a moving average of the weights. "quick" shows that it runs.
        """
        # Its forecasts are deterministic: one member says all.
        validation = {"starts": 8, "members": 1, "time": 24.0, "every": 500}
        descent = DescentConfiguration(updates=5000, batch=32, learning_rate=1e-3, weight_decay=1e-5, coupled=True)
        small = cls(working_points=16, past=10, horizon=10, descent=descent)
        quick = replace(small, widths=(256, 128), descent=replace(descent, updates=400, batch=16))
        return {
            # The published choice, by the loss on odd frames after every epoch, leaks as well, and is not repeated.
            "paper": {
                "settings": cls(),
                "split": {"by": "interleaved", "allow_leak": True},
                "validation": {**validation, "every": 10 * EPOCH},
                "log_every": EPOCH,
                "seed": 99,
            },
            "default": {"settings": small, "validation": validation},
            "quick": {"settings": quick, "validation": {**validation, "starts": 4, "time": 12.0, "every": 200}},
        }[preset]

    def training(self, data: FitData, every_frames: int, *, seed: int, key: PRNGKeyArray) -> Training:
        """A fit to a data set: windows of filtered frames, streamed."""
        windows = PaddedWindows(data.flow, steps_of(data.split.train, every_frames), self.past, self.horizon)

        def loss(model: Any, batch: Any, *, key: Any) -> Any:
            frames, reynolds = batch
            # The working grid resolves less and costs less; filters multiply modes, so they may come after it.
            coarse = jax.vmap(jax.vmap(model.autoencoder.to_work))(frames)
            return self.loss(model, data.filtering(coarse), reynolds, key=key)

        def batches(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            size = self.descent.batch
            for number, batch in enumerate(windows.batches(size, seed=seed, first=first), first):
                chosen = windows.order(number, size, seed=seed)
                reynolds = data.flow.reynolds[[windows.frames_of(int(w))[0] for w in chosen]]
                yield batch, reynolds.astype(np.float32)

        reynolds = float(data.flow.reynolds[data.split.train[0].trajectory])
        module = self.initial(data.flow.points, reynolds=reynolds, key=key)
        return Training(Descent(self.descent, loss), module, batches)

    def initial(self, points: int, *, reynolds: float = 0.0, key: PRNGKeyArray) -> "PublishedModel":
        """The untrained model for frames of ``points`` points per side."""
        return PublishedModel.make(points, reynolds, self.of_network(), key=key)

    def loss(
        self,
        model: "PublishedModel",
        windows: Float[Array, "batch time 2 X Y"],
        reynolds: Float[Array, " batch"],
        *,
        key: PRNGKeyArray,
    ) -> LossAndMetrics:
        """The published loss; every term is a mean over all elements, and a metric of its own.

        Windows hold ``past`` filtered frames n - S + 1 .. n, zero where there was none yet, and ``horizon`` frames
        after them, on the autoencoder's working grid.
        """
        coder = model.autoencoder
        mean, logarithm = jax.vmap(jax.vmap(coder.encode))(windows)
        z = mean + jnp.exp(logarithm / 2) * jax.random.normal(key, mean.shape, mean.dtype)
        past, future = z[:, : self.past], z[:, self.past :]
        predicted = jax.vmap(lambda w, r: model.rollout(w, self.horizon, r))(past, reynolds)
        decode = jax.vmap(jax.vmap(coder.decode))
        fields, ahead = decode(predicted), windows[:, self.past :]
        # Frames n .. n + H - 1: as many as are predicted, but one step earlier.
        now = slice(self.past - 1, self.past + self.horizon - 1)
        kl = divergence(mean[:, : self.past], logarithm[:, : self.past])
        terms = {
            "latent": jnp.mean(jnp.square(predicted - future)),
            "state": jnp.mean(jnp.square(fields - ahead)),
            "reconstruction": jnp.mean(jnp.square(decode(z[:, now]) - windows[:, now])),
            "divergence": kl,
            "energy": jnp.mean(jnp.square(mean_energy(fields) - mean_energy(ahead))),
        }
        autoencoder = terms["reconstruction"] + self.divergence_weight * kl
        total = (
            terms["latent"]
            + self.state_weight * terms["state"]
            + self.autoencoder_weight * autoencoder
            + self.energy_weight * terms["energy"]
        )
        return total, {**terms, "uncertainty": jnp.mean(jnp.exp(logarithm))}


@reduced_model("vae", settings=PublishedModelSettings)
class PublishedModel(ReducedOrderModel):
    """Autoencoder and transformer, which sees all of a window but the newest; ``warm``: it starts from several frames.

    Only the conditioned transformer reads the Reynolds number of the flow that is stepped.
    """

    autoencoder: DenseAutoencoder
    transformer: PublishedTransformer
    settings: PublishedModelSettings = eqx.field(static=True)
    reynolds: float = eqx.field(static=True, default=0.0)

    @property
    def window(self) -> int:
        return self.settings.past if self.settings.warm else 1

    def start(self, frames: Float[Array, "window 2 x y"], *, key: PRNGKeyArray) -> Array:
        count = self.settings.past // frames.shape[0]
        if self.settings.path == "ensemble":
            return jnp.repeat(frames, count, axis=0)
        return jnp.repeat(jax.vmap(lambda f: self.distribution(f)[0])(frames), count, axis=0)

    def step(self, carry: Array, *, key: PRNGKeyArray) -> tuple[Array, Float[Array, " latent"]]:
        if self.settings.path == "mean":
            return self.following(carry)
        means, logarithms = jax.vmap(self.distribution)(carry)
        latents = means + jnp.exp(logarithms / 2) * jax.random.normal(key, means.shape, means.dtype)
        _, latent = self.following(latents)
        return jnp.concatenate([carry[1:], self.decode(latent)[None]]), latent

    def following(
        self, window: Latents, reynolds: Float[Array, ""] | None = None
    ) -> tuple[Latents, Float[Array, " latent"]]:
        """The window one step later, and its newest latent vector."""
        given = jnp.asarray(self.reynolds, window.dtype) if reynolds is None else reynolds
        latent = self.transformer(window[:-1], given)
        return jnp.concatenate([window[1:], latent[None]]), latent

    def rollout(
        self, window: Latents, steps: int, reynolds: Float[Array, ""] | None = None
    ) -> Float[Array, "steps latent"]:
        """Latent vectors of the next steps, without noise."""
        return jax.lax.scan(lambda w, _: self.following(w, reynolds), window, length=steps)[1]

    def distribution(self, frame: Float[Array, "2 x y"]) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean of a frame's latents, and logarithm of their variance."""
        return self.autoencoder.encode(self.autoencoder.to_work(frame))

    def decode(self, latent: Float[Array, " latent"]) -> Float[Array, "2 x y"]:
        return self.autoencoder.to_data(self.autoencoder.decode(latent))

    def facts(self) -> dict[str, Any]:
        return {**self.settings.facts(), "points": self.autoencoder.points, "reynolds": self.reynolds}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "PublishedModel":
        rest = dict(facts)
        points, reynolds = rest.pop("points"), rest.pop("reynolds")
        settings = PublishedModelSettings.from_facts(rest)
        return with_arrays(eqx.filter_eval_shape(cls.make, points, reynolds, settings, key=jax.random.key(0)), arrays)

    @classmethod
    def make(
        cls, points: int, reynolds: float, settings: PublishedModelSettings, *, key: PRNGKeyArray
    ) -> "PublishedModel":
        """A model of random weights for frames of ``points`` points per side."""
        s = settings
        first, second = jax.random.split(key)
        coder = DenseAutoencoder(
            points, working_points=s.working_points, widths=s.widths, latent=s.latent, variant=s.variant, key=first
        )
        transformer = PublishedTransformer(
            s.latent, blocks=s.blocks, heads=s.heads, causal=s.causal, conditioned=s.conditioned, key=second
        )
        return cls(coder, transformer, s, reynolds)


def divergence(mean: Float[Array, "*lead latent"], logarithm: Float[Array, "*lead latent"]) -> Float[Array, ""]:
    """Kullback-Leibler divergence from the standard normal distribution, as a mean over latents too."""
    return -jnp.mean(1 + logarithm - jnp.square(mean) - jnp.exp(logarithm)) / 2


def mean_energy(frames: Float[Array, "*lead 2 x y"]) -> Float[Array, "*lead"]:
    """Kinetic energy of frames, as a mean over points: one number per frame."""
    return jnp.mean(jnp.sum(jnp.square(frames), axis=-3), axis=(-2, -1)) / 2
