"""Where a generation stands: saved whole beside the frames, so that a kill at any moment loses little."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Complex

from closura.files import write_atomically
from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.store import holds_flows

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
    """Whether a generation of the same settings waits to go on; what stands in the way is refused, or removed.

    With ``overwrite`` an unfinished generation of the same settings still goes on: the result is the same.

    Raises
    ------
    FileExistsError
        If something is there that must not be replaced.
    ValueError
        If an unfinished generation has other settings.
    """
    if not path.exists() and not path.is_symlink():
        return False
    if not holds_flows(path):
        raise FileExistsError(f"{path} exists and is no data set of flows: choose another name")
    attributes: dict[str, Any] = zarr.open_group(path, mode="r", use_consolidated=False).attrs.asdict()
    if attributes.get("complete") is not False:
        if not overwrite:
            raise FileExistsError(f"{path} is finished; choose another name, or make it anew with --overwrite")
        shutil.rmtree(path)
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
    shutil.rmtree(path)
    return False
