"""The loop of descents: checkpoints wherever it stands, from which it goes on to the same weights and metrics."""

import itertools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.interruption import Interrupted
from closura.offline.data import Training
from closura.offline.descent import Descent, DescentConfiguration
from closura.runs.checkpoints import load_checkpoint, read_progress
from closura.runs.fitting.fit import DescentTask
from closura.runs.folder import RunFolder
from closura.runs.tracking import MetricsFile
from closura.runs.trainer import make_updates


class Line(eqx.Module):
    slope: jax.Array


def loss(module, batch, *, key):
    x, y = batch
    return jnp.mean((module.slope * x + jax.random.normal(key, (), jnp.float32) - y) ** 2), {"slope": module.slope}


class Killed(BaseException):
    pass


def task(kill_at, drawn):
    """Ten updates; rows of four, evaluated after five: rows end at 4, 5, 8, 10."""
    descent = Descent(DescentConfiguration(updates=10, learning_rate=0.1, warmup=2), loss)

    def batches(first):
        for number in itertools.count(first):
            if number == kill_at:
                raise Killed
            drawn.append(number)
            x = np.random.default_rng(number).standard_normal(8).astype(np.float32)
            yield x, 3 * x

    return DescentTask(
        Training(descent, Line(jnp.zeros((), jnp.float32)), batches),
        lambda line: {"validation_error": abs(float(line.slope) - 3.0)},
        lambda path, line, row: path.write_text(json.dumps(float(line.slope))),
        every=5,
        log_every=4,
        key=jax.random.key(0),
    )


def run(folder, kill_at=None, *, resume=False, stop_after=99, **settings):
    run = RunFolder(folder)
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    done = int(read_progress(run.last)["update"]) if resume and run.last.exists() else 0
    sink, drawn = MetricsFile(run.metrics, keep_until=done), []

    def stop():
        return drawn[-1] + 1 >= stop_after

    try:
        made = task(kill_at, drawn)
        state, facts = made.initial, {"update": 0, "best": None, "seconds": 0.0}
        if resume and run.last.exists():
            state, facts = load_checkpoint(run.last, state, total=made.total)
        return make_updates(made, state, facts, run, [sink], stop, **settings)[1]
    finally:
        sink.close()


def found(folder):
    """Weights and metrics, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return (folder / "weights.safetensors").read_text(), (folder / "final.safetensors").read_text(), rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    facts = run(folder)
    assert set(facts) == {"update", "best", "seconds"}
    weights, final, rows = found(folder)
    assert [row["update"] for row in rows] == [4, 5, 8, 10]
    return weights, final, rows


@pytest.mark.parametrize(("kill_at", "in_the_row"), [(3, 3), (4, 0), (5, 0), (7, 2)])
def test_a_kill_costs_no_more_than_the_time_between_checkpoints(kill_at, in_the_row, whole, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at, checkpoint_every=0.0)
    progress = read_progress(tmp_path / "checkpoints" / "last.checkpoint")
    assert progress["update"] == kill_at
    assert len(progress.get("rows", [])) == in_the_row
    facts = run(tmp_path, resume=True)
    assert set(facts) == {"update", "best", "seconds"}
    assert found(tmp_path) == whole  # to the last bit


def test_checkpoints_are_written_at_judgements_in_any_case(tmp_path, whole):
    with pytest.raises(Killed):
        run(tmp_path, 4)
    assert read_progress(tmp_path / "checkpoints" / "last.checkpoint")["update"] == 0
    with pytest.raises(Killed):
        run(tmp_path, 8)
    assert read_progress(tmp_path / "checkpoints" / "last.checkpoint")["update"] == 5
    run(tmp_path, resume=True)
    assert found(tmp_path) == whole


def test_a_wish_to_stop_is_heard_after_every_update(tmp_path, whole):
    for update in (3, 5, 9):
        with pytest.raises(Interrupted, match=f"stopped after {update} of 10 updates; continue with --resume"):
            run(tmp_path, resume=True, stop_after=update)
    run(tmp_path, resume=True)
    assert found(tmp_path) == whole
