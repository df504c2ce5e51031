"""Exports to Fortran: a module around the C file, and Fortran alone where a closure sees its own cell only."""

import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from exported import INTERFACES, drawn, near, pointwise, spec_of

import closura
from closura.export.c import TOLERANCE, sources
from closura.export.compiled import fortran_answer, fortran_library
from closura.export.package import ExportError, export
from closura.export.verify import observation_for, verify
from closura.io.weights import save_weights

pytestmark = pytest.mark.skipif(shutil.which("gfortran") is None, reason="no gfortran")
STRICT = ("-std=f2008", "-O1", "-Wall", "-Wextra", "-Wno-compare-reals", "-Werror", "-fcheck=all", "-fopenmp")


def pure(closure, folder, known=None):
    """Its card, and the compiled library of the module without C."""
    spec = closure.spec
    card = {
        "name": "mine", "title": "t", "about": "a", "made_for": "m", "observation": spec.observation,
        "action": spec.action, "actions": spec.action, "how_to_apply": "h", "grid": [8] * spec.dimensions,
        "range": known, "boundary": spec.boundary,
    }  # fmt: skip
    for file, text in sources(closure.program(), "mine", card=card, to=("fortran-pure",)).items():
        (folder / file).write_text(text)
    return card, fortran_library(folder, card, folder, pure=True, command=["gfortran"], flags=STRICT)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "glu", "bilinear"])
def test_pointwise_closures_in_fortran_alone(activation, tmp_path):
    closure = pointwise(spec_of(2), activation=activation)
    card, library = pure(closure, tmp_path)
    seen = observation_for(closure, (9, 4))
    assert near(fortran_answer(library, card, seen), closure(jnp.asarray(seen, jnp.float32)))


@pytest.mark.parametrize(
    "options", [{"even": True, "largest": 0.0}, {"activation": "tanh"}, {"form": "published", "double": True}]
)
def test_weights_of_stencils_in_fortran_alone(options, tmp_path):
    closure = drawn("weights", INTERFACES, hidden=(9, 5), **options)
    card, library = pure(closure, tmp_path)
    seen = observation_for(closure, (41,))
    found, wanted = fortran_answer(library, card, seen), np.asarray(closure(jnp.asarray(seen)))
    assert np.abs(found - wanted).max() < (1e-13 if options.get("double") else TOLERANCE) * np.abs(wanted).max()
    seen[3, 7] = np.nan  # no correction: the logits of the linear scheme of order five
    with pytest.raises(ExportError, match="status 4"):
        fortran_answer(library, card, seen)


def test_the_guard_in_fortran(tmp_path):
    known = [[-1.0, 1.0], [-0.5, 2.0], [0.1, 1.0]]
    closure = pointwise(spec_of(2))
    card, _ = pure(closure, tmp_path, known)
    seen = observation_for(closure, (6, 5))
    seen[1, 2, 2], seen[0, 0, 0] = np.nan, np.inf
    (tmp_path / "main.f90").write_text(
        """program run
  use mine_pure
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
  real(real64) :: seen(30, 3), action(30, 2)
  integer :: status, mode, outside
  read (*, *) mode, seen
  call mine_apply(30, seen, action, status, guard=mode, outside=outside)
  write (*, '(2i4, *(es24.16))') status, outside, action
end program run
"""
    )
    build = ["gfortran", *STRICT, "-o", "run", "mine_pure.f90", "main.f90"]
    assert subprocess.run(build, cwd=tmp_path).returncode == 0
    for mode, response in enumerate(("clip", "zero"), start=1):
        text = " ".join(map(repr, [mode, *map(float, seen.ravel())]))
        done = subprocess.run([tmp_path / "run"], input=text, capture_output=True, text=True, check=True)
        status, outside, *action = done.stdout.split()
        guard = closura.Guard(closure, known, response=response)
        wanted = guard(jnp.asarray(seen, jnp.float32))
        assert (int(status), int(outside)) == (0, guard.outside)
        assert near(np.array(action, float).reshape(2, 6, 5), wanted)


def test_what_sees_neighbours_needs_c(tmp_path):
    with pytest.raises(ExportError, match="see their own cell or interface only"):
        export("advection", tmp_path, to=("fortran-pure",), simulations=0)


def test_the_fortran_module(tmp_path):
    closure = drawn("compact", spec_of(2), channels=4, layers=2)
    save_weights(
        tmp_path / "mine.safetensors", closure,
        architecture={"closure": "compact", "options": {"channels": 4, "layers": 2}},
    )  # fmt: skip
    export(tmp_path / "mine.safetensors", tmp_path, to=("fortran",), name="mine")
    assert {name.split()[0] for name in verify(tmp_path, flags=("-O1",))} == {"c", "fortran"}
    seen = np.random.default_rng(5).normal(size=(3, 7, 6))
    (tmp_path / "main.f90").write_text(
        """program run
  use mine_module
  use, intrinsic :: iso_c_binding, only: c_double
  implicit none
  type(mine_type) :: closure
  real(c_double) :: seen(7, 6, 3), action(7, 6, 2)
  integer :: status
  read (*, *) seen
  call closure%init([7, 6], status)
  if (status /= mine_ok) error stop 1
  call closure%apply(seen, action, status)
  if (status /= mine_ok) error stop 2
  write (*, '(es24.16)') action
end program run
"""
    )
    build_ = "make FFLAGS='-O1 -Wall' CFLAGS=-O1 && gfortran -o run main.f90 mine_module.o mine.o -lm"
    done = subprocess.run(build_, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # The first index is x: Fortran's order of memory, channel after channel.
    text = " ".join(repr(float(value)) for channel in seen for value in channel.T.ravel())
    done = subprocess.run([tmp_path / "run"], input=text, capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), float).reshape(2, 6, 7).transpose(0, 2, 1)
    assert near(found, closure(jnp.asarray(seen, jnp.float32)))
