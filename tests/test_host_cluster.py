"""Workers on a cluster: Dask's own, in this process, so that it is light."""

import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest

from closura.host.pool import Pool, Program, use_workers
from closura.host.protocol import Layout

distributed = pytest.importorskip("distributed", reason='needs pip install "closura[cluster]"')

from closura.host.cluster import dask_pool

LAYOUT = Layout((1, 8), parameters=1)
# Without NumPy, so that it starts fast.
DECAY = """
    import mmap, os, struct, sys
    file = open(os.environ["CLOSURA_MEMORY"], "r+b")
    memory = mmap.mmap(file.fileno(), 0)
    requests, replies = int(os.environ["CLOSURA_REQUESTS"]), int(os.environ["CLOSURA_REPLIES"])
    header = struct.unpack("16q", memory[:128])
    state, parameters, dt = header[9], header[11], header[12]
    os.write(replies, b"k")
    while request := os.read(requests, 1):
        if request == b"q":
            break
        if request == b"s":
            values = struct.unpack_from("8d", memory, state)
            factor = 1 - struct.unpack_from("d", memory, parameters)[0] * struct.unpack_from("d", memory, dt)[0]
            if values[0] > 5:
                os.write(replies, b"f")
                continue
            struct.pack_into("8d", memory, state, *(factor * value for value in values))
        os.write(replies, b"k")
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = tmp_path_factory.mktemp("decay") / "decay.py"
    path.write_text(textwrap.dedent(DECAY))
    return Program((sys.executable, "-S", str(path)))


@pytest.fixture
def cluster() -> Iterator["distributed.LocalCluster"]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as found:
        yield found


def batch(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    states = np.random.default_rng(0).normal(size=(size, *LAYOUT.state))
    return states, np.linspace(0.5, 1.5, size)[:, None], np.full(size, 0.1)


def address(cluster: "distributed.LocalCluster") -> str:
    return cluster.scheduler_address.replace("tcp://", "dask://")


def test_a_cluster_gives_the_numbers_of_this_machine(cluster: "distributed.LocalCluster", program: Program) -> None:
    pool, here = dask_pool(program, LAYOUT, address(cluster)), Pool(program, LAYOUT, 2)
    assert pool.workers == 4
    states, rates, dt = batch(6)
    states[1, 0, 0] = 9.0  # refused
    found, expected = pool.step(states, rates, dt), here.step(states, rates, dt)
    pool.close()
    here.close()
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isnan(found[1]).all()
    assert pool.counts.failures == here.counts.failures == {"refused": 1}


def test_what_a_lost_node_has_begun_is_made_again(cluster: "distributed.LocalCluster", program: Program) -> None:
    pool = dask_pool(program, LAYOUT, address(cluster))
    states, rates, dt = batch(4)
    expected = states * (1 - rates[:, :, None] * 0.1)
    assert np.array_equal(pool.step(states, rates, dt), expected)
    victim = next(iter(cluster.workers.values()))
    cluster.sync(victim.close)
    found = pool.step(states, rates, dt)
    pool.close()
    assert np.array_equal(found, expected)
    assert pool.counts.failures["crashed"] >= 1
    assert pool.counts.lost == 0


def test_what_is_missing_is_told(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closura.host.cluster.WAY", 1.0)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at 127\.0\.0\.1:1\b"):
        dask_pool(program, LAYOUT, "dask://127.0.0.1:1")
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
        ) as empty,
        pytest.raises(ValueError, match=r"at 127\.0\.0\.1:\d+ has no workers: start some first"),
    ):
        dask_pool(program, LAYOUT, address(empty))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r'workers on a cluster need: pip install "closura\[cluster\]"'):
        dask_pool(program, LAYOUT, "dask://127.0.0.1:1")
    with pytest.raises(ValueError, match="workers must be a number or dask://"):
        use_workers("dask:/one-slash")
