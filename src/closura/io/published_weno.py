"""The agents that the authors of BPTTS published: two hidden layers of 64, for the Euler equations.

An ``.npz`` with ``W0, b0, W1, b1, W2, b2``, used as ``x @ W + b`` in float64; inputs are the two standardised
stencils (plus before minus), outputs the logits of the two sets of weights. The authors' own zip files hold the same
arrays under the names of their framework.

Source: Way, Kapilavai, Fu and Yu (arXiv:2203.08937), weights in side branches of their public code (MIT licence).
"""

import re
from collections.abc import Mapping
from itertools import pairwise

import jax
import numpy as np

from closura.closures import WeightsClosure
from closura.core import ClosureSpec
from closura.io.weights import WeightsError, fill

_NAME = re.compile(r"[Wb]\d+")


def holds_weno_agent(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the names of arrays are those of a published agent."""
    return bool(arrays) and all(_NAME.fullmatch(name) for name in arrays)


def convert_weno_agent(arrays: Mapping[str, np.ndarray], spec: ClosureSpec, source: str) -> WeightsClosure:
    """Turn published arrays into our network (``form="published"``, ReLU, float64).

    Parameters
    ----------
    arrays
        ``W0, b0, ...`` without gaps.
    spec
        Of the problem; its stencil must be the network's.
    source
        Where the arrays come from, for messages.

    Raises
    ------
    WeightsError
        If layers are missing or do not follow on each other, the network belongs to stencils of another size, or the
        problem's closures do not act at interfaces.
    """
    count = len(arrays) // 2
    missing = [f"{kind}{i}" for i in range(count) for kind in "Wb" if f"{kind}{i}" not in arrays]
    if missing or count < 2 or len(arrays) % 2:
        raise WeightsError(f"{source}: expected W0, b0, W1, b1, ...; got {', '.join(sorted(arrays))}")
    weights = [arrays[f"W{i}"] for i in range(count)]
    if any(w.ndim != 2 for w in weights) or any(a.shape[1] != b.shape[0] for a, b in pairwise(weights)):
        raise WeightsError(f"{source}: layers do not follow on each other: {[w.shape for w in weights]}")
    inputs, outputs = weights[0].shape[0], weights[-1].shape[1]
    r = outputs // 2
    if outputs % 2 or inputs != 2 * (2 * r - 1):
        raise WeightsError(
            f"{source} is no agent of BPTTS: {inputs} inputs and {outputs} outputs; expected 2 (2 r - 1) and 2 r"
        )
    if spec.where != "interfaces":
        raise WeightsError(f"the agent in {source} weighs stencils at interfaces, and this problem's agents do not")
    if (len(spec.observation), len(spec.action)) != (inputs, outputs):
        wanted = len(spec.action) // 2
        raise WeightsError(
            f"the agent in {source} weighs {r} sub-stencils (r = {r}, {inputs} inputs), the problem's {wanted} "
            f"(r = {wanted}, {len(spec.observation)} inputs): choose --scheme weno{2 * r - 1}-js, or another agent"
        )
    if not jax.config.read("jax_enable_x64"):
        raise WeightsError(
            f"the agent in {source} needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first"
        )
    hidden = tuple(int(w.shape[1]) for w in weights[:-1])
    network = WeightsClosure(spec, hidden=hidden, form="published", largest=0.0, double=True, key=jax.random.key(0))
    renamed = {f"network.layers[{i}].weight": weights[i] for i in range(count)}
    renamed |= {f"network.layers[{i}].bias": arrays[f"b{i}"] for i in range(count)}
    filled: WeightsClosure = fill(network, renamed, source)
    return filled
