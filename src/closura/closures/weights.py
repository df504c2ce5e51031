r"""A closure at interfaces that weighs the candidates of a WENO stencil.

Each interface sees two standardised stencils in upwind order and answers with logits of two sets of weights; the
solver takes their softmax. Two forms:

``published``
    One network from both stencils to all ``2 r`` logits (Way et al. 2022: 128-128, ReLU, float64).

``guided``
    One network for *both* sides - it sees (own stencil, other stencil) - so that a mirrored field gets mirrored
    fluxes, and logits that start from a classical scheme:

        l_k = log(d_k) + g (-p log(beta_k / B + e) + N_k(own, other)),      B = mean beta

    with ``d`` the optimal linear weights: where the gate ``g`` is open, weights like those of Jiang and
    Shu (p = 2, e = 0) in a softened form, plus what was learned. The gate opens where sub-stencils differ in
    smoothness,

        c = (1 + tau / min beta) / (1 + tau / max beta),      g = smooth step of log c between two contrasts

    (TENO cuts at c = 6.8). On smooth data the gate is shut, and the order stays ``2 r - 1`` whatever has been learned;
    where the sizes of the stencils are observed, ``log c`` is the mean of both sides' by their squares, so that a
    side that hardly counts - one is flat at every crest - does not open it. With ``even`` the network's answer is
    averaged over the sign of the stencils, which makes the mirror symmetry hold for every component of a system of
    equations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._checks import check_observation, count_parameters
from closura.closures.dense import Perceptron
from closura.closures.program import Pass, Program, perceptron_layers
from closura.closures.registry import closure
from closura.core import ClosureSpec
from closura.numerics.weno import global_smoothness, optimal_weights, smoothness
from closura.settings import Count, NotNegative, Positive, Settings

Form = Literal["guided", "published"]

GATE = (2.0, 10.0)


def log_contrast(beta: Float[Array, "k agent"]) -> Float[Array, " agent"]:
    """``log c`` of the module's text: 0 on smooth data, large where one sub-stencil is crossed by a jump."""
    tau = global_smoothness(beta)
    tiny = jnp.finfo(beta.dtype).tiny ** 0.5
    return jnp.log1p(tau / (jnp.min(beta, axis=0) + tiny)) - jnp.log1p(tau / (jnp.max(beta, axis=0) + tiny))


def smooth_step(log: Float[Array, " agent"], closed: float, opened: float) -> Float[Array, " agent"]:
    """0 below ``log(closed)``, 1 above ``log(opened)``, a cubic with flat ends between them."""
    share = jnp.clip((log - math.log(closed)) / math.log(opened / closed), 0, 1)
    return share * share * (3 - 2 * share)


def _both_ways(plus: Float[Array, "c agent"], minus: Float[Array, "c agent"]) -> Float[Array, "c both"]:
    return jnp.concatenate([plus, minus], axis=1)


@dataclass(frozen=True)
class WeightsConfiguration(Settings):
    """Size and form of closures that weigh stencils.

    Parameters
    ----------
    hidden
        Sizes of the hidden layers.
    activation
        "relu", "gelu", "silu" or "tanh".
    form
        "guided": one network for both sides, around a classical scheme; "published": one that answers for both.
    even
        Average the network's answer over the sign of the stencils (guided only).
    largest
        The network's answer is limited to +- this by a hyperbolic tangent; 0 does not limit it.
    gate
        Contrasts of smoothness between which the network's answer comes in (guided only).
    softening, power
        How strongly the guided form starts out to avoid sub-stencils with a jump: their logits are lowered by
        power * log(smoothness indicator / its mean + softening).
    double
        Weights in float64, as published.
    """

    hidden: tuple[Count, ...] = (32, 32)
    activation: str = "relu"
    form: Form = "guided"
    even: bool = False
    largest: NotNegative = 4.0
    gate: tuple[float, float] = GATE
    softening: Positive = 0.01
    power: NotNegative = 1.0
    double: bool = False


@closure("weights", where="interfaces", settings=WeightsConfiguration)
class WeightsClosure(eqx.Module):
    """Logits of the weights of both stencils of every interface."""

    network: Perceptron
    spec: ClosureSpec = eqx.field(static=True)
    settings: WeightsConfiguration = eqx.field(static=True)

    def __init__(self, spec: ClosureSpec, *, key: PRNGKeyArray, **settings: Any) -> None:
        s = WeightsConfiguration(**settings)
        if spec.where != "interfaces":
            raise ValueError("this closure weighs stencils at interfaces, and the problem's closures act in cells")
        if s.double and not jax.config.read("jax_enable_x64"):
            raise ValueError("weights in float64 need 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
        inputs, outputs = len(spec.observation), len(spec.action)
        published, r = s.form == "published", outputs // 2
        if not published:
            # Of the sizes its own is enough, the other being the rest; and the roughness of each sub-stencil.
            inputs = inputs - (inputs > 2 * (2 * r - 1)) + r
        self.network = Perceptron(
            (inputs, *s.hidden, outputs if published else r),
            activation=s.activation,
            zero_last=not published,
            dtype=jnp.float64 if s.double else jnp.float32,
            key=jax.random.split(key)[0],
        )
        self.spec, self.settings = spec, s

    def critic_network(self, start: Sequence[float], *, key: PRNGKeyArray) -> Perceptron:
        """A network as large as the closure's own, for the spread and the value of a policy; ``start`` at first."""
        sizes = (len(self.spec.observation), *self.settings.hidden)
        dtype = self.network.layers[0].weight.dtype
        return Perceptron.starting_from(start, sizes, activation=self.settings.activation, dtype=dtype, key=key)

    def __call__(self, observation: Float[Array, "c agent"]) -> Float[Array, "a agent"]:
        """Logits, the plus side's before the minus side's."""
        check_observation(observation, self.spec)
        if self.settings.form == "published":
            return self._network(observation).astype(observation.dtype)
        half = observation.shape[1]
        cells = 2 * (len(self.spec.action) // 2) - 1
        own = _both_ways(observation[:cells], observation[cells : 2 * cells])
        other = jnp.roll(own, half, axis=1)
        beta = smoothness(own)
        contrast = log_contrast(beta)
        if observation.shape[0] > 2 * cells:
            size = _both_ways(observation[-2:-1], observation[-1:])
            share = jnp.square(size[0]) / (jnp.square(size[0]) + jnp.square(1 - size[0]))
            contrast = share * contrast + (1 - share) * jnp.roll(contrast, half)
            seen = jnp.concatenate([own, other, size])
        else:
            seen = jnp.concatenate([own, other])
        gate = smooth_step(contrast, *self.settings.gate)
        mean = jnp.mean(beta, axis=0) + jnp.finfo(own.dtype).tiny ** 0.5
        rough = self.settings.power * jnp.log(beta / mean + self.settings.softening)
        optimal = jnp.log(jnp.asarray(optimal_weights(beta.shape[0]), own.dtype))[:, None]
        learned = self._network(jnp.concatenate([seen, rough])).astype(own.dtype)
        logits = optimal + gate * (learned - rough)
        return jnp.concatenate([logits[:, :half], logits[:, half:]])

    def _network(self, seen: Float[Array, "c agent"]) -> Float[Array, "k agent"]:
        x = seen.T.astype(self.network.layers[0].weight.dtype)
        y = self.network(x)
        if self.settings.even:
            # Sizes and roughness have no sign.
            stencils = 2 * (len(self.spec.action) - 1)
            turned = jnp.concatenate([-x[:, :stencils], x[:, stencils:]], axis=1)
            y = (y + self.network(turned)) / 2
        if largest := self.settings.largest:
            y = largest * jnp.tanh(y / largest)
        return y.T

    def program(self) -> Program:
        """What it computes, for exports."""
        inputs = Pass(np.zeros((1, 1), np.int64), perceptron_layers(self.network), "observation")
        return Program(self.spec, (inputs,), weights=self.settings)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, form and sizes."""
        return {
            "kind": "closure",
            "parameters": count_parameters(self),
            "form": self.settings.form,
            "even": self.settings.even,
            "hidden": list(self.settings.hidden),
            "activation": self.settings.activation,
        }
