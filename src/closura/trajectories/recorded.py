"""Recordings of any equation as the reference of a problem: which files, which are held out, frames as they are needed.

Whole simulations are held out, always the same ones. A frame of a held-out recording is read where that split is asked
for, and nowhere else.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Float

from closura.core.definition import Split
from closura.problems.recorded import Recordings
from closura.trajectories.identity import spread
from closura.trajectories.recording_file import Dims, RecordingFile

SUFFIXES = (".zarr", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5")
MARKED = 3
"""Frames, spread over a recording, by which it is known."""
OPEN_FILES = 32

Chosen = float | Sequence[int | str]


def recorded(
    path: str | Path,
    *,
    variables: str | tuple[str, ...],
    split: str = "train",
    dims: Dims = None,
    parameters: tuple[str, ...] = (),
    validation: Chosen = 0.1,
    test: Chosen = 0.2,
    skip: int = 0,
    interval: float | None = None,
    cache_bytes: int = 2**28,
) -> Recordings:
    """Recorded simulations of an equation, opened without reading them.

    Parameters
    ----------
    path
        A zarr store, or a file in NetCDF or HDF5, of one simulation or several; a folder of such; or a pattern such as
        "runs/*.nc". Files of a folder are taken by name.
    variables
        Names of the arrays whose components make the state, in its order.
    split
        The one that is asked for: "train", "validation" or "test", as a problem's function is given it.
    dims
        What axes are called that are not called simulation, time, component, x, y, z: ``{"time": "t"}``. Or what they
        are, in the order of arrays without names: ``("simulation", "time", "x", "component")``.
    parameters
        Names of numbers that differ between simulations: arrays with a number for each, or attributes of files.
    validation, test
        Which recordings are held out: a share of them (the last ones for test, those before for validation, at least
        one each), or their numbers or names. The others are for training.
    skip
        First frames of each recording that are left out: what has not developed yet.
    interval
        Time between frames, where files have no times.
    cache_bytes
        Of frames that are kept in memory, beside those in use.

    Returns
    -------
    Recordings
        For ``closura.Problem.from_functions(reference=...)``.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If something is missing, damaged, not uniform, not finite or different from file to file; the message says what
        was expected, what there is, and what to do.
    """
    if split not in get_args(Split):
        raise ValueError(
            f"split must be train, validation or test, as the problem's function is given it; got {split!r}"
        )
    names = (variables,) if isinstance(variables, str) else tuple(variables)
    if not names:
        raise ValueError("variables must name an array or more; got none")
    paths = _paths(path)
    make = partial(RecordingFile, variables=names, dims=dims, parameters=tuple(parameters), interval=interval)
    called = Path(path).name
    reader = _Reader(called, make, paths, skip, cache_bytes)
    first = reader.first
    chosen = _division(called, reader.names, validation, test)
    members = chosen[split]
    marks = tuple(reader.mark(number) for number in members)
    values = {name: np.asarray(all_of, np.float64) for name, all_of in reader.parameters.items()}
    known = {
        "variables": names, "components": first.components, "points": first.points, "interval": first.interval,
        "names": reader.names, "frames": reader.frames, "division": chosen, "marks": marks, "split": split,
        "parameters": {name: all_of[list(members)].tolist() for name, all_of in values.items()},
    }  # fmt: skip
    identity = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    units = [
        f"{name} ({unit})" if unit not in ("", "1") else name for name, unit in zip(names, first.units, strict=True)
    ]
    said = {
        "recordings": f"{len(reader.names)} in {called}: {', '.join(units)} on {' x '.join(map(str, first.points))} "
        f"points, a frame every {first.interval:g}",
        "split": f"{split} set: {len(members)} of {len(reader.names)} recordings "
        f"({_listed([reader.names[m] for m in members])}), data {identity[:12]}",
    }
    return Recordings(
        name=called, components=first.components, points=first.points, lengths=first.lengths,
        interval=first.interval, frames=reader.frames, names=reader.names, members=members, first=chosen["train"][0],
        training=split == "train", parameters=values, marks=marks, identity=identity, read=reader.frame, words=said,
    )  # fmt: skip


def _paths(path: str | Path) -> tuple[Path, ...]:
    """Files and stores, by name."""
    given = Path(path)
    if not given.exists() and set("*?[") & set(str(path)):
        base = Path(given.anchor or ".")
        found = sorted(base.glob(str(given.relative_to(given.anchor) if given.anchor else given)))
        if not found:
            raise FileNotFoundError(f"no file or folder is called {path}")
        return tuple(found)
    if not given.exists():
        raise FileNotFoundError(f"no recordings at {path}")
    if given.is_file() or any((given / name).is_file() for name in (".zgroup", ".zattrs", ".zmetadata", "zarr.json")):
        return (given,)
    found = sorted(each for each in given.iterdir() if each.suffix in SUFFIXES)
    if not found:
        raise ValueError(f"{path} holds no recordings; expected a zarr store, or files {', '.join(SUFFIXES)} in it")
    return tuple(found)


def _division(called: str, names: tuple[str, ...], validation: Chosen, test: Chosen) -> dict[str, tuple[int, ...]]:
    """Numbers of the recordings of each split."""
    everyone, left = range(len(names)), list(range(len(names)))
    found: dict[str, tuple[int, ...]] = {}
    for split, asked in (("test", test), ("validation", validation)):
        if isinstance(asked, int | float):
            if not 0 < asked < 1:
                raise ValueError(f"{split} must be a share above 0 and below 1, or recordings; got {asked}")
            chosen = left[len(left) - max(1, round(asked * len(names))) :]
        else:
            unknown = [each for each in asked if each not in names and each not in everyone]
            if unknown or not asked:
                raise ValueError(
                    f"{called} has the recordings {_listed(list(names))}; {split} names "
                    f"{unknown[0] if unknown else 'none'}"
                )
            chosen = [each if isinstance(each, int) else names.index(each) for each in asked]
        if twice := [names[n] for n in chosen if n not in left]:
            raise ValueError(f"recording {twice[0]} is held out twice, for validation and for test")
        found[split] = tuple(chosen)
        left = [n for n in left if n not in chosen]
    if not left or not all(found.values()):
        raise ValueError(
            f"{called} has {len(names)} recordings, expected one or more each for training, validation and test: "
            "record more simulations, or hold out fewer (validation=, test=)"
        )
    return {"train": tuple(left), **found}


def _listed(names: list[str]) -> str:
    """Names in a few words."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, ... {names[-1]}"


class _Reader:
    """Frames of the recordings in several files, read in chunks of which some are kept; threads take turns."""

    def __init__(self, name: str, make: partial[RecordingFile], paths: tuple[Path, ...], skip: int, cache: int) -> None:
        self.name, self.skip = name, skip
        self._file = lru_cache(OPEN_FILES)(make)
        self._places: list[tuple[Path, int]] = []
        names: list[str] = []
        frames: list[int] = []
        self.parameters: dict[str, list[float]] = {}
        self.first = self._file(paths[0])
        for path in paths:
            file = self._file(path)
            self._check_alike(file)
            if file.frames - skip < 2:
                raise ValueError(
                    f"{path} has {file.frames} frames, and {skip} are left out (skip); expected 2 or more that stay"
                )
            own = file.names()
            names += (
                own if len(paths) == 1 or not file.labelled_simulations else [f"{path.stem} {each}" for each in own]
            )
            frames += [file.frames - skip] * file.simulations
            self._places += [(path, i) for i in range(file.simulations)]
            for key, values in file.parameters.items():
                self.parameters.setdefault(key, []).extend(values)
        self.names, self.frames = tuple(names), tuple(frames)
        size = 4 * len(self.first.components) * int(np.prod(self.first.points)) * self.first.chunk_frames
        self._chunk = lru_cache(max(1, cache // size))(self._read)
        self._turn = threading.Lock()

    def frame(self, recording: int, frame: int) -> Float[np.ndarray, "component *points"]:
        """A frame, float32; ValueError if there is none, or a value is not finite."""
        if not 0 <= frame < self.frames[recording]:
            raise ValueError(
                f"recording {self.names[recording]} of {self.name} has frames 0 to {self.frames[recording] - 1}; got "
                f"{frame}: simulate fewer steps"
            )
        with self._turn:
            size = self.first.chunk_frames
            number = (frame + self.skip) // size
            found: np.ndarray = self._chunk(recording, number)[frame + self.skip - number * size]
        if not np.isfinite(found).all():
            wrong = np.argwhere(~np.isfinite(found).reshape(len(found), -1).all(axis=1))
            raise ValueError(
                f"recording {self.names[recording]} of {self.name}: {self.first.components[int(wrong[0, 0])]} is "
                f"missing or not finite in frame {frame + self.skip}: fill it, cut the recording there, or leave it out"
            )
        return found

    def mark(self, recording: int) -> str:
        """A hash of frames spread over a recording."""
        digest = hashlib.sha256()
        for number in spread(self.frames[recording], MARKED):
            digest.update(np.ascontiguousarray(self.frame(recording, int(number)), "<f4").tobytes())
        return digest.hexdigest()[:16]

    def _read(self, recording: int, chunk: int) -> np.ndarray:
        path, simulation = self._places[recording]
        file, size = self._file(path), self.first.chunk_frames
        return file.read(simulation, chunk * size, min((chunk + 1) * size, file.frames))

    def _check_alike(self, file: RecordingFile) -> None:
        one = self.first
        for what, mine, theirs in (
            ("the components", file.components, one.components),
            ("the points", file.points, one.points),
            ("units", file.units, one.units),
            ("lengths of the domain", file.lengths, one.lengths),
        ):
            if mine != theirs:
                raise ValueError(
                    f"{what} of {file.path.name} are {mine}, those of {one.path.name} {theirs}: make them alike"
                )
        if abs(file.interval - one.interval) > 1e-3 * one.interval:
            raise ValueError(
                f"frames of {file.path.name} are {file.interval:g} apart, those of {one.path.name} {one.interval:g}: "
                "make them alike"
            )
