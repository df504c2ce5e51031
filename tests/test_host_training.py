"""Trainings through worker processes: the benchmark's advection in NumPy; a solver that was not written for this."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from test_runs import TINY_PPO

from closura.core.definition import PROBLEMS
from closura.host.pool import Pool, Program, close_pools, counts, use_workers
from closura.host.protocol import Layout
from closura.learners import PPOConfiguration
from closura.runs import train

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    use_workers(2)
    yield
    use_workers(0)
    close_pools()


def trained(place: str, folder: Path) -> dict[str, np.ndarray]:
    kind = PROBLEMS.find(place)
    c = replace(
        TINY_PPO,
        name=kind.place,
        problem=kind.settings(cells=8, ratio=2, maximum_steps=12),
        learning=PPOConfiguration(updates=2, environments=4, steps=4, minibatch=8, epochs=1),
        validation=replace(TINY_PPO.validation, every=1, steps=4),
        reference=replace(TINY_PPO.reference, renew_every=0),
        keep_every=0,
    )
    train(c, folder)
    return safetensors.numpy.load_file(folder / "final.safetensors")


def test_killed_workers_leave_a_training_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(ROOT / "benchmarks" / "host_advection.py")
    whole = trained(place, tmp_path / "whole")
    close_pools()
    step, calls = Pool.step, [0]

    def killing(self: Pool, *arguments: Any, **more: Any) -> np.ndarray:
        calls[0] += 1
        if calls[0] in (5, 7, 9):
            os.kill(self._idle[-1].process_id, signal.SIGKILL)  # type: ignore[attr-defined]
        return step(self, *arguments, **more)

    monkeypatch.setattr(Pool, "step", killing)
    killed = trained(place, tmp_path / "killed")
    (found,) = counts().values()
    assert (found.failures, found.repeated, found.lost) == ({"crashed": 3}, 3, 0)
    assert all(np.array_equal(whole[name], killed[name]) for name in whole)


def test_a_published_solver() -> None:
    """py-pde by the worker protocol, against the same differences in NumPy."""
    pytest.importorskip("pde", reason="needs pip install py-pde")
    place = f"{ROOT / 'examples' / 'pypde_fields.py'}:AllenCahn"
    pool = Pool(Program((sys.executable, "-m", "closura.host.serve", place)), Layout((1, 8, 8)), 1)
    states = np.random.default_rng(0).normal(size=(2, 1, 8, 8))
    found = pool.step(states, np.zeros((2, 0)), np.full(2, 0.25))
    pool.close()
    around = sum(np.roll(states, shift, axis) for shift in (-1, 1) for axis in (2, 3))
    expected = states + 0.25 * ((around - 4 * states) / (32.0 / 8) ** 2 + states - states**3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert not pool.counts.failures
