"""Where a generation stands: saved whole beside the frames, so that a kill at any moment loses little."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import zarr
from jaxtyping import Complex

from closura.files import write_atomically
from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.store import holds_flows, refuse_link

STATE = "generation.state"


@dataclass(frozen=True, eq=False)
class GenerationState:
    """Spectra of all trajectories after a number of steps, and how many frames are in the store.

    Parameters
    ----------
    step
        Time steps taken.
    frames
        Frames written.
    spectra
        ``(trajectory, 2, grid, grid/2 + 1)``.
    """

    step: int
    frames: int
    spectra: Complex[np.ndarray, "trajectory 2 kx ky"]

    def save(self, store: Path) -> None:
        """Write the state into the store, atomically, with a checksum."""
        content = np.ascontiguousarray(self.spectra, np.complex128).tobytes()
        header = {
            "step": self.step,
            "frames": self.frames,
            "shape": list(self.spectra.shape),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        write_atomically(store / STATE, json.dumps(header).encode() + b"\n" + content)

    @classmethod
    def load(cls, store: Path) -> "GenerationState":
        """Read the state back.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        file = store / STATE
        try:
            line, content = file.read_bytes().split(b"\n", 1)
            header = json.loads(line)
            if hashlib.sha256(content).hexdigest() != header["sha256"]:
                raise ValueError("wrong checksum")
            spectra = np.frombuffer(content, np.complex128).reshape(header["shape"])
            return cls(int(header["step"]), int(header["frames"]), spectra)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}): start again with overwrite (--overwrite)") from error


def resumable(path: Path, configuration: GenerationConfiguration, *, overwrite: bool) -> bool:
    """Whether a generation of the same settings waits to go on; what must not be replaced is refused.

    With ``overwrite`` an unfinished generation of the same settings still goes on: the result is the same. Nothing is
    changed here; see :func:`put_in_place`.

    Raises
    ------
    FileExistsError
        If something is there that must not be replaced, a symbolic link among it.
    ValueError
        If an unfinished generation has other settings.
    """
    refuse_link(path)
    if not path.exists():
        return False
    if not holds_flows(path):
        raise FileExistsError(f"{path} exists and is no data set of flows: choose another name")
    attributes: dict[str, Any] = zarr.open_group(path, mode="r", use_consolidated=False).attrs.asdict()
    if attributes.get("complete") is not False:
        if not overwrite:
            raise FileExistsError(f"{path} is finished; choose another name, or make it anew with --overwrite")
        aside = set_aside(path)
        if aside.is_symlink() or (aside.exists() and not holds_flows(aside)):
            raise FileExistsError(f"{aside} is in the way, and is no data set of flows: move it away")
        return False
    stored = json.loads(attributes.get("configuration", "{}"))
    asked = configuration.plain()
    changed = [
        f"{name}: {stored.get(name)} there, {asked.get(name)} asked"
        for name in {**stored, **asked}
        if stored.get(name) != asked.get(name)
    ]
    if not changed and (path / STATE).is_file():
        return True
    if not overwrite:
        if not changed:
            raise FileExistsError(f"{path} is unfinished but lacks {STATE}: start again with --overwrite")
        raise ValueError(
            f"{path} is an unfinished generation with other settings ({'; '.join(changed)}); go on with: "
            f"{attributes.get('command')}, or start again with --overwrite"
        )
    return False


def set_aside(path: Path) -> Path:
    """Where a finished data set waits until the one that replaces it is finished."""
    return path.with_name(f".{path.name}.replaced")


def put_in_place(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a new store to its name; a finished data set there is set aside, an unfinished one removed.

    What is there must have passed :func:`resumable`.
    """
    if not (overwrite and path.exists()):
        temporary.rename(path)
        return
    finished = zarr.open_group(path, mode="r", use_consolidated=False).attrs.get("complete") is not False
    old = set_aside(path) if finished else path.with_name(f".{path.name}.{token_hex(4)}.old")
    if old.exists():
        # The one at the name is finished too: an earlier call ended just before it removed this one.
        shutil.rmtree(old)
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    if not finished:
        shutil.rmtree(old)


def forget_replaced(path: Path) -> None:
    """Remove the data set that was set aside: the new one is finished."""
    if holds_flows(set_aside(path)):
        shutil.rmtree(set_aside(path))


def put_back(path: Path) -> bool:
    """Give the data set that was set aside its name again, in place of one that cannot be finished; if there is one."""
    if not holds_flows(set_aside(path)):
        return False
    hopeless = path.with_name(f".{path.name}.{token_hex(4)}.old")
    path.rename(hopeless)
    set_aside(path).rename(path)
    shutil.rmtree(hopeless)
    return True
