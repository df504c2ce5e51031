"""The codes of examples/c and examples/fortran: compiled, run alone and with the closure that closura exports."""

import shutil
import subprocess
from pathlib import Path

import pytest

from closura.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
ERRORS = {"alone": 1.37, "closed": 0.91}
"""Percent, as docs/export.md gives them; other compilers move the third digit at most."""


@pytest.mark.parametrize(("language", "compiler"), [("c", "cc"), ("fortran", "gfortran")])
def test_an_advection_code_with_the_exported_closure(language: str, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None or shutil.which("make") is None:
        pytest.skip(f"no {compiler} or make on this machine")
    folder = shutil.copytree(EXAMPLES / language, tmp_path / language)
    main(["export", "advection", "--to", language, "--simulations", "0", "--out", str(folder / "closure")])
    subprocess.run(["make", "-s", *ERRORS, "CFLAGS=-O2", "FFLAGS=-O2"], check=True, cwd=folder)
    for program, wanted in ERRORS.items():
        said = subprocess.run([f"./{program}"], check=True, cwd=folder, capture_output=True, text=True).stdout
        assert float(said.split()[0]) == pytest.approx(wanted, abs=0.0051)
