"""What a closure's answer does to the totals of the components that it acts on.

    forcing     A = clip(a)                                     free: it may create and destroy (as published)
    mean-free   A = clip(a) - mean(clip(a))                     one number per component restores the total
    flux        A_i = sum_axis f_axis(i + 1) - f_axis(i),       f = clip(a) at the lower faces of cell i
                                                                whatever leaves a cell enters its neighbour

``a`` are answers clipped by the closure specification, ``A`` is what the solver subtracts from the state. The
constraint sits here, between the answer and the state, and not in the networks: so it binds the actions that a policy
*samples* as well as the mean that it is evaluated by, and holds for every network and every learner. Clipping comes
first because it would break what the constraint restores. A flux is local, a mean reaches across the grid: subtracting
it moves every cell of the component to make up for an imbalance anywhere.

Totals are kept to round-off: in float32 one action changes the total of a component by about 1e-7 of the
total of absolute values.
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.grids import Boundary

ActionForm = Literal["forcing", "mean-free", "flux"]
ACTION_FORMS: tuple[ActionForm, ...] = get_args(ActionForm)

_AXES = ("x", "y", "z")


def action_channels(
    form: str, components: tuple[str, ...], acts_on: tuple[int, ...], boundary: tuple[Boundary, ...]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of an action's channels, and the observed channel that each acts on, for a ``ClosureSpec``.

    Fluxes have one channel per component and axis, in the order ``(component, axis)``; the other forms one per
    component, with the same names: a closure that was made for one may be run as the other. ``acts_on`` are the
    observed channels that show the components.
    """
    _check(form)
    if len(components) != len(acts_on):
        raise ValueError(f"expected one observed channel per component; got {acts_on} for {components}")
    suffix = [f" {name}" for name in components] if len(components) > 1 else [""]
    if form != "flux":
        return tuple(f"forcing{name}" for name in suffix), acts_on
    if set(boundary) != {"periodic"}:
        raise ValueError(f"fluxes need a grid that is periodic along every axis; got {boundary}: use mean-free")
    axes = _AXES[: len(boundary)]
    return (
        tuple(f"flux{name} {axis}" for name in suffix for axis in axes),
        tuple(index for index in acts_on for _ in axes),
    )


def correction(action: Float[Array, "channel *grid"], form: str) -> Float[Array, "component *grid"]:
    """What an action takes away from the state, in the units of the action.

    The action is a closure's clipped answer, ``(component, *grid)``, or ``(component * axis, *grid)`` for fluxes, in
    the state's dtype, so that totals are kept to the state's precision.
    """
    _check(form)
    if form == "forcing":
        return action
    if form == "mean-free":
        return action - jnp.mean(action, axis=tuple(range(1, action.ndim)), keepdims=True)
    axes = action.ndim - 1
    if action.shape[0] % axes:
        raise ValueError(f"expected {axes} fluxes per component, one per axis; got {action.shape[0]} channels")
    faces = action.reshape(-1, axes, *action.shape[1:])
    return net_outflow(jnp.moveaxis(faces, 1, 0))


def net_outflow(faces: Float[Array, "axis component *grid"]) -> Float[Array, "component *grid"]:
    """What leaves each cell of a periodic grid: upper minus lower face, summed over the axes.

    ``faces[axis]`` at cell ``i`` is its lower face along that axis, which is the upper face of the cell before.
    """
    parts = []
    for axis in range(faces.shape[0]):
        along = faces[axis]
        first = along[(slice(None),) * (axis + 1) + (slice(0, 1),)]
        parts.append(jnp.diff(along, axis=axis + 1, append=first))
    return sum(parts[1:], start=parts[0])


def _check(form: str) -> None:
    if form not in ACTION_FORMS:
        raise ValueError(f"unknown form of action {form!r}; valid: {', '.join(ACTION_FORMS)}")
