r"""Agents at interfaces that weigh the candidates of a WENO stencil.

Each agent sees two standardised stencils in upwind order and answers with logits of two sets of weights; the dynamics
take their softmax. Two forms:

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
    where the agents see the sizes of their stencils, ``log c`` is the mean of both sides' by their squares, so that a
    side that hardly counts - one is flat at every crest - does not open it. With ``even`` the network's answer is
    averaged over the sign of the stencils, which makes the mirror symmetry hold for every component of a system of
    equations.
"""

import math
from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures.closure import check_observation, count_parameters
from closura.closures.dense import Perceptron
from closura.decision import Decision
from closura.numerics.weno import global_smoothness, smoothness
from closura.numerics.weno_tables import optimal_weights

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


class WeightsClosure(eqx.Module):
    """Logits of the weights of both stencils of every agent.

    Parameters
    ----------
    decision
        Of a problem whose agents stand at interfaces.
    hidden
        Sizes of the hidden layers.
    activation
        See :data:`closura.closures.dense.ACTIVATIONS`.
    form
        "guided" or "published"; see the module's text.
    even
        See the module's text (guided only).
    largest
        The network's answer is limited to ``+- largest`` by a hyperbolic tangent; 0 does not limit it.
    gate
        Contrasts of smoothness between which the network's answer comes in; see the module's text.
    softening, power
        ``e`` and ``p`` of the module's text: how strongly the answer starts out to avoid sub-stencils with a jump.
    double
        Weights in float64, as published.
    key
        Random key.

    Raises
    ------
    ValueError
        If the decision is that of agents in cells, or an option is unknown.
    """

    network: Perceptron
    decision: Decision = eqx.field(static=True)
    form: Form = eqx.field(static=True)
    even: bool = eqx.field(static=True)
    largest: float = eqx.field(static=True)
    gate: tuple[float, float] = eqx.field(static=True)
    softening: float = eqx.field(static=True)
    power: float = eqx.field(static=True)

    def __init__(
        self,
        decision: Decision,
        *,
        hidden: tuple[int, ...] = (32, 32),
        activation: str = "relu",
        form: Form = "guided",
        even: bool = False,
        largest: float = 0.0,
        gate: tuple[float, float] = GATE,
        softening: float = 0.01,
        power: float = 1.0,
        double: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        if decision.agents != "interfaces":
            raise ValueError(
                "this closure weighs stencils at interfaces, and the problem's agents stand in cells: choose another "
                "closure (compact, ircnn)"
            )
        if form not in get_args(Form):
            raise ValueError(f"unknown form {form!r}; valid: {', '.join(get_args(Form))}")
        inputs, outputs = len(decision.observation), len(decision.action)
        published, r = form == "published", outputs // 2
        if not published:
            # Of the sizes its own is enough, the other being the rest; and the roughness of each sub-stencil.
            inputs = inputs - (inputs > 2 * (2 * r - 1)) + r
        self.network = Perceptron(
            (inputs, *hidden, outputs if published else r),
            activation=activation,
            zero_last=not published,
            dtype=jnp.float64 if double else jnp.float32,
            key=key,
        )
        self.decision, self.form, self.even, self.largest = decision, form, even, largest
        self.gate, self.softening, self.power = gate, softening, power

    def __call__(self, observation: Float[Array, "c agent"]) -> Float[Array, "a agent"]:
        """Logits, the plus side's before the minus side's.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        check_observation(observation, self.decision)
        if self.form == "published":
            return self._network(observation).astype(observation.dtype)
        half = observation.shape[1]
        cells = 2 * (len(self.decision.action) // 2) - 1
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
        gate = smooth_step(contrast, *self.gate)
        mean = jnp.mean(beta, axis=0) + jnp.finfo(own.dtype).tiny ** 0.5
        rough = self.power * jnp.log(beta / mean + self.softening)
        optimal = jnp.log(jnp.asarray(optimal_weights(beta.shape[0]), own.dtype))[:, None]
        learned = self._network(jnp.concatenate([seen, rough])).astype(own.dtype)
        logits = optimal + gate * (learned - rough)
        return jnp.concatenate([logits[:, :half], logits[:, half:]])

    def _network(self, seen: Float[Array, "c agent"]) -> Float[Array, "k agent"]:
        x = seen.T.astype(self.network.layers[0].weight.dtype)
        y = self.network(x)
        if self.even:
            # Sizes and roughness have no sign.
            stencils = 2 * (len(self.decision.action) - 1)
            turned = jnp.concatenate([-x[:, :stencils], x[:, stencils:]], axis=1)
            y = (y + self.network(turned)) / 2
        if self.largest:
            y = self.largest * jnp.tanh(y / self.largest)
        return y.T

    def describe(self) -> dict[str, Any]:
        """Number of parameters, form and sizes."""
        return {
            "kind": "closure",
            "parameters": count_parameters(self),
            "form": self.form,
            "even": self.even,
            "hidden": [layer.weight.shape[1] for layer in self.network.layers[:-1]],
            "activation": self.network.activation,
        }
