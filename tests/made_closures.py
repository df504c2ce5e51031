"""Closures with random weights for tests of exports, and their sources."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.closures import build
from closura.core import ClosureSpec
from closura.export.c import sources


def spec_of(axes, boundary="periodic"):
    return ClosureSpec(
        ("q", "u", "v", "w")[: axes + 1], ("f", "g"), (boundary,) * axes, acts_on=(0, 1), bound=5.0, scale=0.3,
        unit=0.5, velocity=tuple(range(1, axes + 1)),
    )  # fmt: skip


def drawn(name, spec, *, explores=False, seed=0, **options):
    """A closure with random weights: an untrained one answers zero."""
    closure = build(name, spec, options=options, explores=explores, key=jax.random.key(seed))
    leaves, tree = jax.tree.flatten(eqx.filter(closure, eqx.is_inexact_array))
    rng = np.random.default_rng(seed)
    leaves = [jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(tree, leaves), closure)


def written(closure, folder, *, name="c", known=None):
    """Write its C sources."""
    spec = closure.spec
    card = {
        "title": "t", "about": "a", "made_for": "m", "observation": spec.observation, "actions": spec.action,
        "how_to_apply": "h", "grid": [8] * spec.dimensions, "range": known,
    }  # fmt: skip
    for file, text in sources(closure.program(), name, card=card).items():
        (folder / file).write_text(text)
