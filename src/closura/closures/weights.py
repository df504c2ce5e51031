r"""Agents at interfaces that weigh the candidates of a WENO stencil.

Each agent sees two standardised stencils in upwind order and answers with logits of two sets of weights; the dynamics
take their softmax. Two forms:

``published``
    One network from both stencils to all ``2 r`` logits (Way et al. 2022: 128-128, ReLU, float64).

``guided``
    One network for *both* sides - it sees (own stencil, other stencil) - so that a mirrored field gets mirrored
    fluxes, and logits that start from a classical scheme:

        l_k = log(w_k) + g N_k(own, other)

    with ``w`` the weights of the guide: ``optimal`` (the linear ones), ``z``, or ``teno`` (crossed sub-stencils cut
    off). The gate ``g`` opens where sub-stencils differ in smoothness as they do at a discontinuity,

        c = (1 + tau / min beta) / (1 + tau / max beta),      g = smooth step of log c from c = 5 to c = 25

    (TENO cuts at c = 6.8): on smooth data the network is silent, and the order stays ``2 r - 1`` whatever has been
    learned. With ``even`` the network's answer is averaged over the sign of the stencils, which makes the mirror
    symmetry hold for every component of a system of equations.
"""

import math
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures.closure import check_observation, count_parameters
from closura.closures.dense import Perceptron
from closura.decision import Decision
from closura.numerics.weno import global_smoothness, linear_weights, smoothness, teno_weights, z_weights

Guide = Literal["none", "optimal", "z", "teno"]

SMALLEST_WEIGHT = 1e-12
"""Weights of the guide are raised to this before their logarithm: what is cut off stays within reach."""
GATE = (5.0, 25.0)
_GUIDES = {"optimal": linear_weights, "z": z_weights, "teno": teno_weights}


def smoothstep_gate(stencil: Float[Array, "cell agent"], closed: float, opened: float) -> Float[Array, " agent"]:
    """0 where sub-stencils are about equally smooth, 1 where one is crossed by a jump and another is not."""
    beta = smoothness(stencil)
    tau = global_smoothness(beta)
    tiny = jnp.finfo(stencil.dtype).tiny ** 0.5
    contrast = jnp.log1p(tau / (jnp.min(beta, axis=0) + tiny)) - jnp.log1p(tau / (jnp.max(beta, axis=0) + tiny))
    share = jnp.clip((contrast - math.log(closed)) / math.log(opened / closed), 0, 1)
    return share * share * (3 - 2 * share)


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
    guide
        The scheme that the answer starts from; ``none`` is the published form.
    even
        See the module's text (not with ``none``).
    largest
        The network's answer is limited to ``+- largest`` by a hyperbolic tangent; 0 does not limit it.
    gate
        Contrasts of smoothness between which the network's answer comes in; see the module's text.
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
    guide: Guide = eqx.field(static=True)
    even: bool = eqx.field(static=True)
    largest: float = eqx.field(static=True)
    gate: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        decision: Decision,
        *,
        hidden: tuple[int, ...] = (32, 32),
        activation: str = "relu",
        guide: Guide = "teno",
        even: bool = False,
        largest: float = 0.0,
        gate: tuple[float, float] = GATE,
        double: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        if decision.agents != "interfaces":
            raise ValueError(
                "this closure weighs stencils at interfaces, and the problem's agents stand in cells: choose another "
                "closure (compact, ircnn)"
            )
        if guide != "none" and guide not in _GUIDES:
            raise ValueError(f"unknown guide {guide!r}; valid: none, {', '.join(_GUIDES)}")
        inputs, outputs = len(decision.observation), len(decision.action)
        published = guide == "none"
        self.network = Perceptron(
            (inputs, *hidden, outputs if published else outputs // 2),
            activation=activation,
            zero_last=not published,
            dtype=jnp.float64 if double else jnp.float32,
            key=key,
        )
        self.decision, self.guide, self.even, self.largest, self.gate = decision, guide, even, largest, gate

    def __call__(self, observation: Float[Array, "c agent"]) -> Float[Array, "a agent"]:
        """Logits, the plus side's before the minus side's.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        check_observation(observation, self.decision)
        if self.guide == "none":
            return self._network(observation).astype(observation.dtype)
        cells = observation.shape[0] // 2
        plus, minus = observation[:cells], observation[cells:]
        own = jnp.concatenate([plus, minus], axis=1)
        other = jnp.concatenate([minus, plus], axis=1)
        gate = smoothstep_gate(own, *self.gate)
        guided = jnp.log(jnp.maximum(_GUIDES[self.guide](own), SMALLEST_WEIGHT))
        logits = guided + gate * self._network(jnp.concatenate([own, other])).astype(own.dtype)
        half = observation.shape[1]
        return jnp.concatenate([logits[:, :half], logits[:, half:]])

    def _network(self, seen: Float[Array, "c agent"]) -> Float[Array, "k agent"]:
        x = seen.T.astype(self.network.layers[0].weight.dtype)
        y = self.network(x)
        if self.even:
            y = (y + self.network(-x)) / 2
        if self.largest:
            y = self.largest * jnp.tanh(y / self.largest)
        return y.T

    def describe(self) -> dict[str, Any]:
        """Number of parameters, form and sizes."""
        return {
            "kind": "closure",
            "parameters": count_parameters(self),
            "guide": self.guide,
            "even": self.even,
            "hidden": [layer.weight.shape[1] for layer in self.network.layers[:-1]],
            "activation": self.network.activation,
        }


