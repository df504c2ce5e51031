"""Finding out what kind of closure a path holds."""

from pathlib import Path

from closura.closures import AnyClosure
from closura.core import ClosureSpec
from closura.io.published import convert, convert_weno_agent, holds_weno_agent, read_arrays
from closura.io.weights import WeightsError, load_weights

ACCEPTED = (
    "a run folder, a .safetensors file of closura, the published .npz and .pt files of Closure-RL, or the .npz of an "
    "agent of BPTTS"
)


AGENTS = Path(__file__).parents[1] / "agents"
"""Weights that come with the package."""
SHIPPED = ("advection", "burgers", "turbulence", "turbulence-volumes", "burgers-1d", "euler-1d")
"""Their names."""
WITH_MEMORY = ("lorenz96",)
"""Names of those that carry memory, which exports do not know."""


def shipped(path: str | Path) -> Path:
    """The file behind the name of a closure that comes with the package; other paths as they are."""
    if str(path) in (*SHIPPED, *WITH_MEMORY) and not Path(path).exists():
        file = AGENTS / f"{path}.safetensors"
        if not file.exists():
            raise FileNotFoundError(
                f"this installation of closura comes without the trained agent {path}: update it, or train one with "
                f"`closura train {path}` and give its run folder"
            )
        return file
    return Path(path)


def load_closure(path: str | Path, spec: ClosureSpec) -> AnyClosure:
    """Load a closure for a problem from a run folder or a file of weights.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path; the message lists what is accepted.
    WeightsError
        If it is no closure, or one that does not fit the problem.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no closure at {path}: expected {ACCEPTED}")
    if path.is_dir():
        weights = path / "weights.safetensors"
        if not weights.exists():
            raise WeightsError(
                f"{path} holds no weights.safetensors: is it a run folder, and has its training been validated once?"
            )
        return load_weights(weights, spec)
    if path.suffix == ".safetensors":
        return load_weights(path, spec)
    if path.suffix in (".npz", ".pt"):
        arrays = read_arrays(path)
        if holds_weno_agent(arrays):
            return convert_weno_agent(arrays, spec, str(path))
        return convert(arrays, spec, str(path))
    raise WeightsError(f"{path} is no closure: expected {ACCEPTED}")
