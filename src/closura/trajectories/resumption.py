"""Where a generation stands: saved whole beside the frames, so that a kill at any moment loses little."""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import zarr
from jaxtyping import Complex

from closura.io.files import write_atomically
from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.coordinates import shown
from closura.trajectories.store import holds_flows, refuse_link

STATE = "generation.state"


@dataclass(frozen=True, eq=False)
class GenerationState:
    """Spectra of all trajectories after a number of time steps, and how many frames are in the store."""

    step: int
    frames: int
    spectra: Complex[np.ndarray, "trajectory 2 kx ky"]

    def save(self, store: Path) -> None:
        """Write the state into the store, atomically, with a checksum of all that is in it."""
        content = np.ascontiguousarray(self.spectra, np.complex128).tobytes()
        header = {"format": 2, "step": self.step, "frames": self.frames, "shape": list(self.spectra.shape)}
        line = json.dumps({**header, "sha256": _checksum(header, content)})
        write_atomically(store / STATE, line.encode() + b"\n" + content)

    @classmethod
    def load(cls, store: Path, configuration: GenerationConfiguration) -> "GenerationState":
        """Read the state of a generation back.

        States that had a checksum of the spectra alone (format 1) are read too: all states must fit the configuration.

        ValueError if it is damaged, or of another generation.
        """
        file, c = store / STATE, configuration
        try:
            line, content = file.read_bytes().split(b"\n", 1)
            header = json.loads(line)
            said = header.pop("sha256")
            if said != (_checksum(header, content) if "format" in header else hashlib.sha256(content).hexdigest()):
                raise ValueError("wrong checksum")
            step, frames, shape = header["step"], header["frames"], (c.total, 2, c.grid, c.grid // 2 + 1)
            if header.get("format", 2) != 2 or type(step) is not int or type(frames) is not int:
                raise ValueError("its first line is not understood")
            # A frame is made as soon as its step is done; the very first state is the one before it.
            due = 0 if step < c.transient_steps else (step - c.transient_steps) // c.steps_per_frame + 1
            if not 0 <= step <= c.steps or (frames != due and (step, frames) != (0, 0)):
                raise ValueError(f"step {step} with {frames} frames, of {c.steps} steps and {c.frames} frames")
            if tuple(header["shape"]) != shape or len(content) != 16 * math.prod(shape):
                raise ValueError(f"spectra {header['shape']}, expected {shape}")
            spectra = np.frombuffer(content, np.complex128).reshape(shape)
            if not np.isfinite(spectra).all():
                raise ValueError("spectra that are not finite")
            return cls(step, frames, spectra)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is damaged ({error}): start again with overwrite (--overwrite)") from error


def _checksum(header: dict[str, Any], content: bytes) -> str:
    """Of a file's first line, without the checksum itself, and what follows it."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + b"\n" + content).hexdigest()


def resumable(path: Path, configuration: GenerationConfiguration, *, overwrite: bool) -> bool:
    """Whether a generation of the same settings waits to go on; what must not be replaced is refused.

    With ``overwrite`` an unfinished generation of the same settings still goes on: the result is the same. Nothing is
    changed here; see :func:`put_in_place`.
    """
    refuse_link(path)
    if not path.exists():
        return False
    if not holds_flows(path):
        raise FileExistsError(f"{path} exists and is no data set of flows: choose another name")
    attributes: dict[str, Any] = zarr.open_group(path, mode="r", use_consolidated=False).attrs.asdict()
    stored = _settings(attributes.get("configuration"))
    asked = configuration.plain()
    changed = [
        f"{shown(name)}: {shown(stored.get(name))} there, {asked.get(name)} asked"
        for name in {**stored, **asked}
        if stored.get(name) != asked.get(name)
    ]
    if not changed and (path / STATE).is_file():
        # Also where all frames are there, and only the last strokes are missing: the state is removed last.
        return True
    if attributes.get("complete") != 0:
        if not overwrite:
            raise FileExistsError(f"{path} is finished; choose another name, or make it anew with --overwrite")
        aside = set_aside(path)
        if aside.is_symlink() or (aside.exists() and not holds_flows(aside)):
            raise FileExistsError(f"{aside} is in the way, and is no data set of flows: move it away")
        return False
    if not overwrite:
        if not changed:
            raise FileExistsError(f"{path} is unfinished but lacks {STATE}: start again with --overwrite")
        raise ValueError(
            f"{path} is an unfinished generation with other settings ({'; '.join(changed)}); go on with: "
            f"{shown(attributes.get('command'))}, or start again with --overwrite"
        )
    return False


def _settings(stored: Any) -> dict[str, Any]:
    """The settings that a store names; empty where they cannot be read, and so differ from all."""
    try:
        settings = json.loads(stored)
    except (ValueError, TypeError):
        return {}
    return settings if isinstance(settings, dict) else {}


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
    finished = zarr.open_group(path, mode="r", use_consolidated=False).attrs.get("complete") != 0
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
