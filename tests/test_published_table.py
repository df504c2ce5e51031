"""The published network in our code gives the published table: hours of other people's work in one test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from golden import network

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_table_1_is_reproduced(golden_folder: Path, data_folder: Path, tmp_path: Path) -> None:
    """100 simulations for each of the four cells; means within half a published standard deviation.

    The images are others than the paper's (the last 1,000 of the MNIST test file, a sample of Fashion-MNIST).
    """
    file = tmp_path / "table1.json"
    command = [
        sys.executable, str(ROOT / "benchmarks" / "table1.py"), "--data-dir", str(data_folder), "--json", str(file),
        "--weights", str(network(golden_folder, "advection")),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from table1 import PUBLISHED

    cells = json.loads(file.read_text())["cells"]
    assert len(cells) == 4
    for name, published in PUBLISHED.items():
        for cell, (mean, std) in zip(cells.values(), published, strict=True):
            assert cell["simulations"] == 100
            assert cell["methods"][name]["diverged"] == 0
            assert 100 * cell["methods"][name]["relative_mae"]["mean"] == pytest.approx(mean, abs=std / 2), name


@pytest.mark.parametrize("name", ["table1.py", "environment.py", "convolution.py"])
def test_benchmarks_explain_themselves(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), "--help"], capture_output=True, text=True, check=True
    )
    assert "--json" in done.stdout
