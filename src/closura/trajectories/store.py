"""Writing data sets of flows: a zarr store that is filled frame by frame."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from jaxtyping import Float

from closura import __version__
from closura.arrays import Values, real_numbers
from closura.io.files import replaced_folder
from closura.io.locks import locked
from closura.trajectories.identity import frame_checks, parameter_check
from closura.trajectories.schema import COMPONENTS, COORDINATES, FORMAT, VARIABLES, FlowDescription
from closura.trajectories.statistics import energy_and_dissipation

# Chunks of nothing but zeros (the seed 0, the time 0) are files too. A file that is missing is read as something else
# than what was written: as NaN, or as what the checksums do not fit.
WRITE_ALL: Any = {"write_empty_chunks": True}


# What xarray is to take for coordinates.
BESIDE = "seed reynolds identity check frame_check"


class FlowWriter:
    """A store that is being filled: ``create`` or ``reopen`` it, ``write`` frames, ``finish``."""

    def __init__(self, path: Path, description: FlowDescription, group: Any) -> None:
        self.path, self.description = path, description
        self._group = group
        # Stores that an earlier version began have no checksums of frames.
        self._arrays = {name: group[name] for name in VARIABLES if name in group}
        self._written = np.zeros((description.trajectories, description.frames), bool)

    @classmethod
    def create(cls, path: str | Path, description: FlowDescription) -> "FlowWriter":
        """Make a store of missing frames, marked as not complete, where nothing is."""
        path, d = Path(path), description
        if path.exists() or path.is_symlink():
            raise FileExistsError(f"{path} exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
        path.parent.mkdir(parents=True, exist_ok=True)
        attributes = {"closura_version": __version__, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        group = zarr.create_group(path, zarr_format=2, attributes={**attributes, **d.all_attributes(), "complete": 0})
        side = 2 * np.pi * np.arange(d.points, dtype=np.float64) / d.points
        values: dict[str, np.ndarray] = {
            "trajectory": np.arange(d.trajectories, dtype=np.int64),
            "time": np.arange(d.frames, dtype=np.float64) * d.interval,
            "component": np.asarray(COMPONENTS, np.str_),
            "x": side,
            "y": side,
            "seed": np.asarray(d.seeds, np.int64),
            "reynolds": np.asarray(d.reynolds, np.float64),
            "identity": np.asarray(d.identities, np.str_),
            "check": np.asarray(
                [parameter_check(*each, d.forcing) for each in zip(d.identities, d.reynolds, d.seeds, strict=True)],
                np.int32,
            ),
        }
        for name, (dimensions, facts) in COORDINATES.items():
            array = group.create_array(
                name, shape=values[name].shape, chunks=values[name].shape, dtype=values[name].dtype, fill_value=None,
                compressors=numcodecs.Zstd(level=1, checksum=True),
                attributes={"_ARRAY_DIMENSIONS": list(dimensions), **facts}, config=WRITE_ALL,
            )  # fmt: skip
            array[:] = values[name]
        sizes = {"trajectory": d.trajectories, "time": d.frames, "component": 2, "x": d.points, "y": d.points}
        chunks = {**sizes, "trajectory": 1, "time": d.chunk_frames}
        for name, (dimensions, facts) in VARIABLES.items():
            dtype = np.dtype({"velocity": d.precision, "frame_check": "int32"}.get(name, "float64"))
            shape, chunk = (tuple(of[each] for each in dimensions) for of in (sizes, chunks))
            group.create_array(
                name, shape=shape, chunks=chunk, dtype=dtype, fill_value=float("nan") if dtype.kind == "f" else None,
                filters=[numcodecs.Shuffle(dtype.itemsize)], compressors=numcodecs.Zstd(level=1, checksum=True),
                attributes={"_ARRAY_DIMENSIONS": list(dimensions), **facts, "coordinates": BESIDE},
                config=WRITE_ALL,
            )  # fmt: skip
        return cls(path, description, group)

    @classmethod
    def reopen(cls, path: str | Path, description: FlowDescription, frames: int) -> "FlowWriter":
        """Go on filling a store that was made with the same description and holds ``frames`` frames of each
        trajectory.
        """
        try:
            writer = cls(Path(path), description, zarr.open_group(path, mode="r+", use_consolidated=False))
        except Exception as error:
            raise ValueError(f"{path} is damaged ({error}): start again with overwrite (--overwrite)") from error
        writer._check_written(frames)
        writer._written[:, :frames] = True
        return writer

    def write(
        self,
        trajectory: int,
        start: int,
        velocity: Values,
        energy: Float[np.ndarray, " time"] | None = None,
        dissipation: Float[np.ndarray, " time"] | None = None,
    ) -> None:
        """Write frames ``(time, 2, x, y)``, from ``start`` on, of a trajectory; whole chunks at a time are the fastest.

        Energy and dissipation are computed from the frames where they are not given.

        Raises
        ------
        ValueError
            If the frames do not fit, or a value is not real, masked, not finite, or not in the precision of the store.
        """
        velocity = real_numbers(velocity, "velocity", finite=False)
        self._check_place(trajectory, start, velocity)
        kept = self._kept(velocity)
        self._check_finite(trajectory, start, velocity, "is not finite")
        limit = np.finfo(kept.dtype).max
        self._check_finite(trajectory, start, kept, f"does not fit into {kept.dtype} (up to {limit:.2g})")
        if energy is None or dissipation is None:
            with np.errstate(over="ignore", invalid="ignore"):
                energy, dissipation = energy_and_dissipation(velocity, self.description.reynolds[trajectory])
        for name, values in (("an energy", energy), ("a dissipation", dissipation)):
            self._check_finite(trajectory, start, values, f"has {name} that is not finite")
        self._put(trajectory, start, kept, energy, dissipation)

    def write_all(self, trajectory: int, start: int, velocity: Values) -> int | None:
        """Write frames of which values may not be finite, where that is a finding: the first such frame, if there is
        one, and all after it have no energy. Returns its number.
        """
        velocity = real_numbers(velocity, "velocity", finite=False)
        good = np.isfinite(self._kept(velocity)).all(axis=(1, 2, 3))
        lost = len(good) if good.all() else int(np.argmin(good))
        if lost:
            self.write(trajectory, start, velocity[:lost])
        if lost == len(good):
            return None
        velocity = velocity[lost:]
        self._check_place(trajectory, start + lost, velocity)
        missing = np.full(len(velocity), np.nan)
        self._put(trajectory, start + lost, self._kept(velocity), missing, missing)
        return start + lost

    def _kept(self, velocity: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return velocity.astype(self.description.precision)

    def _put(
        self, trajectory: int, start: int, velocity: np.ndarray, energy: np.ndarray, dissipation: np.ndarray
    ) -> None:
        stop = start + len(velocity)
        self._arrays["velocity"][trajectory, start:stop] = velocity
        if "frame_check" in self._arrays:
            checks = frame_checks(self.description.identities[trajectory], velocity)
            self._arrays["frame_check"][trajectory, start:stop] = checks
        self._arrays["energy"][trajectory, start:stop] = energy
        self._arrays["dissipation"][trajectory, start:stop] = dissipation
        self._written[trajectory, start:stop] = True

    def _check_finite(self, trajectory: int, start: int, values: np.ndarray, what: str) -> None:
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if bad.any():
            first = start + int(np.argmax(bad))
            raise ValueError(
                f"trajectory {trajectory} {what} in frame {first}, time {first * self.description.interval:g}"
            )

    def _check_place(self, trajectory: int, start: int, velocity: np.ndarray) -> None:
        d = self.description
        stop = start + len(velocity)
        if velocity.shape[1:] != (2, d.points, d.points) or not 0 <= start < stop <= d.frames:
            raise ValueError(
                f"expected frames (2, {d.points}, {d.points}) within 0 to {d.frames}; got {velocity.shape[1:]}, "
                f"{start} to {stop}"
            )
        if not 0 <= trajectory < d.trajectories:
            raise ValueError(f"expected a trajectory from 0 to {d.trajectories - 1}; got {trajectory}")

    def _check_written(self, frames: int) -> None:
        """What a store can show of the frames that it should hold: energies, which are written last, and chunks.

        Chunks are as they were written or not there; the one that is not full yet will be read to be filled, so it is
        read here.
        """
        array = self._arrays["velocity"]
        chunk = array.chunks[1]
        key, last = array.metadata.encode_chunk_key, frames - frames % chunk
        for trajectory in range(self.description.trajectories):
            files = [self.path / "velocity" / key((trajectory, i, 0, 0, 0)) for i in range(-(-frames // chunk))]
            lost = [f"{file} is missing" for file in files if not file.is_file()]
            try:
                parts = [self._arrays[name][trajectory, :frames] for name in ("energy", "dissipation")]
                parts.append(array[trajectory, last:frames])
                if not all(np.isfinite(part).all() for part in parts):
                    lost.append("a frame is not there")
            except Exception as error:
                lost.append(str(error))
            if lost:
                raise ValueError(
                    f"{self.path} does not hold the first {frames} frames of trajectory {trajectory}, as it should "
                    f"({lost[0]}): it is damaged; start again with overwrite (--overwrite)"
                )

    def mark(self, **attributes: Any) -> None:
        """Add attributes to the store, as JSON knows them."""
        self._group.attrs.update(attributes)

    def finish(self, *, without: str | None = None) -> None:
        """Mark the store as complete, all frames being written; then remove a file that was needed until here."""
        lacking = np.argwhere(~self._written)
        if len(lacking):
            trajectory, frame = lacking[0]
            raise ValueError(f"the data set is not complete: frame {frame} of trajectory {trajectory} was not written")
        self._group.attrs["complete"] = 1
        with warnings.catch_warnings():
            # The file is no part of the store, and goes last: a kill before leaves a data set to go on with.
            warnings.filterwarnings("ignore", message="Object at .* is not recognized")
            zarr.consolidate_metadata(self.path, zarr_format=2)
        if without is not None:
            (self.path / without).unlink(missing_ok=True)


@contextmanager
def new_flow(path: str | Path, description: FlowDescription, *, overwrite: bool = False) -> Iterator[FlowWriter]:
    """Write a data set beside ``path`` and rename it at the end: an error leaves nothing under the name."""
    path = Path(path)
    refuse_link(path)
    with locked(path, "data set"):
        check_free(path, overwrite=overwrite)
        with replaced_folder(path) as temporary:
            writer = FlowWriter.create(temporary, description)
            yield writer
            writer.finish()


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that is taken, or, with ``overwrite``, taken by anything but a data set of flows."""
    refuse_link(path)
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    if not holds_flows(path):
        raise FileExistsError(f"{path} exists and is no data set of flows: it is not overwritten")


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link as the name of a data set to write: replacing it would not replace what it names."""
    if path.is_symlink():
        raise FileExistsError(f"{path} is a symbolic link to {path.readlink()}: name the folder itself, or another one")


def holds_flows(path: Path) -> bool:
    """Whether closura wrote a data set of flows, complete or not, under this name."""
    if not (path / ".zattrs").is_file():
        return False
    try:
        return zarr.open_group(path, mode="r", use_consolidated=False).attrs.get("format") == FORMAT
    except Exception:
        return False
