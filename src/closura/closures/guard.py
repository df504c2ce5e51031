"""A guard around a closure: what it may see is the range of its training data, as in exports to C and Fortran."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Response = Literal["clip", "zero"]


@dataclass(eq=False)
class Counter:
    """Cells outside of the range: in the last call, and in all of them."""

    last: int = 0
    total: int = 0

    def add(self, cells: Any) -> None:
        """Count those of a call."""
        self.last = int(cells)
        self.total += self.last


class Guard(eqx.Module):
    """A closure that sees no observation outside of a range, and corrects nothing where its answer is not finite.

    A cell is outside where one of its observed channels is beyond the range or not finite. Its neighbours see it
    clipped to the range (zero, clipped, where it is not finite). The cell itself is corrected by what the closure
    answers to that ("clip") or not at all ("zero"). Exports have the same guard (``NAME_guard``).

    Parameters
    ----------
    closure
        Any closure that acts in cells.
    known
        Lowest and highest value of each observed channel, in the units of the simulation: see
        :func:`closura.observed_range`, or ``range`` on the card of an export.
    response
        "clip" or "zero".
    count
        Count the cells in :attr:`outside` and :attr:`outside_total`. Inside of compiled functions this is a call of
        Python for each call of the closure; :meth:`checked` gives the cells as an array instead.

    Raises
    ------
    ValueError
        If the range is not one pair of finite numbers for each observed channel, the lower one first, the response is
        unknown, or the closure acts at interfaces, which see standardised stencils.
    """

    closure: Callable[..., Any]
    known: tuple[tuple[float, float], ...] = eqx.field(static=True)
    response: Response = eqx.field(static=True)
    counter: Counter | None = eqx.field(static=True)

    def __init__(
        self,
        closure: Callable[..., Any],
        known: Sequence[Sequence[float]],
        *,
        response: Response = "zero",
        count: bool = True,
    ) -> None:
        pairs = np.asarray(known, float)
        if (
            pairs.ndim != 2
            or pairs.shape[1] != 2
            or not (np.isfinite(pairs).all() and (pairs[:, 0] <= pairs[:, 1]).all())
        ):
            raise ValueError(f"expected (lowest, highest) for each observed channel, got {known}")
        if response not in ("clip", "zero"):
            raise ValueError(f"unknown response {response!r}; valid: clip, zero")
        spec = getattr(closure, "spec", None)
        if spec is not None and spec.where == "interfaces":
            raise ValueError("closures at interfaces see standardised stencils, which have no range to guard")
        if spec is not None and len(pairs) != len(spec.observation):
            raise ValueError(f"expected a range for each of {', '.join(spec.observation)}; got {len(pairs)}")
        self.closure, self.response = closure, response
        self.known = tuple((float(low), float(high)) for low, high in pairs)
        self.counter = Counter() if count else None

    @property
    def spec(self) -> Any:
        """The closure's specification."""
        return self.closure.spec  # type: ignore[attr-defined]

    def checked(
        self, observation: Float[Array, "observation *grid"]
    ) -> tuple[Float[Array, "action *grid"], Bool[Array, "*grid"]]:
        """The action, and which cells were outside or had no finite answer; counts nothing."""
        low, high = (
            jnp.asarray(each, observation.dtype).reshape(-1, *(1,) * (observation.ndim - 1))
            for each in zip(*self.known, strict=True)
        )
        outside = jnp.any(~((observation >= low) & (observation <= high)), axis=0)
        seen = jnp.clip(jnp.where(jnp.isfinite(observation), observation, 0), low, high)
        action = self.closure(seen)
        wrong = jnp.any(~jnp.isfinite(action), axis=0)
        left = (wrong | outside) if self.response == "zero" else wrong
        return jnp.where(left, 0, action), outside | wrong

    def __call__(self, observation: Float[Array, "observation *grid"]) -> Float[Array, "action *grid"]:
        """The guarded action; outside cells are counted."""
        action, outside = self.checked(observation)
        if self.counter is not None:
            jax.debug.callback(self.counter.add, jnp.sum(outside))
        return action

    @property
    def outside(self) -> int:
        """Cells outside of the range in the last call that has run."""
        return self._count().last

    @property
    def outside_total(self) -> int:
        """Cells outside of the range in all calls."""
        return self._count().total

    def _count(self) -> Counter:
        if self.counter is None:
            raise ValueError("this guard does not count: make it with count=True, or use checked()")
        jax.effects_barrier()
        return self.counter
