"""Batches in turns give what batches at once give, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.closures._members import POINTS_PER_TURN, by_groups


@pytest.mark.parametrize("points", [1, POINTS_PER_TURN // 2, POINTS_PER_TURN // 3, POINTS_PER_TURN, 10**6])
def test_turns_change_nothing(points: int) -> None:
    batch = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(6, 5))), "k": jnp.arange(6)}

    def one(member):
        return {"y": jnp.sin(member["x"]) * member["k"], "total": jnp.sum(member["x"] ** 3)}

    def loss(x, over):
        return jnp.sum(over(one, batch | {"x": x})["total"])

    together, in_turns = jax.vmap(one)(batch), by_groups(one, batch, points)
    for name in together:
        np.testing.assert_allclose(in_turns[name], together[name], rtol=1e-14)
    gradient = jax.grad(lambda x: loss(x, lambda f, b: by_groups(f, b, points)))(batch["x"])
    np.testing.assert_allclose(gradient, 3 * batch["x"] ** 2, rtol=1e-14)


def test_groups_divide_the_batch_and_fill_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closura.closures._members.uses_blocks", lambda: True)
    seen = []

    def one(member):
        seen.append(member.shape)
        return member

    for points, turns in ((POINTS_PER_TURN, 6), (POINTS_PER_TURN // 4, 2), (10, 1)):
        text = str(jax.make_jaxpr(lambda b, p=points: by_groups(one, b, p))(jnp.zeros((6, 3))))
        assert (f"length={turns}" in text) == (turns > 1)  # the loop's length; none where all fit into one turn
    monkeypatch.setattr("closura.closures._members.uses_blocks", lambda: False)
    assert "scan" not in str(jax.make_jaxpr(lambda b: by_groups(one, b, 10**6))(jnp.zeros((6, 3))))
