"""Which frames two data sets have in common, whatever they were called, cut or converted to in between.

Of each frame 16 points are sampled. They are common to coarser grids (every second or fourth point), so that frames can
be compared across cuts in time, coarser and finer grids, and precisions. The comparison is numerical: half precision
changes a value by at most 2^-11 of itself, while neighbouring frames of a turbulent flow differ by a percent and those
of different simulations by their own size.

A store may name its simulations too; names are believed where its frames bear them out.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.schema import FORMAT, UNKNOWN_SEED

TOLERANCE = 5e-4
"""Relative difference of two samples of one frame: the rounding to half precision, 2^-11."""

LEAST = 4
"""Numbers that two grids must have in common: fewer cannot tell frames apart."""

FEWEST = 256
"""Frames of a trajectory that are looked up among known ones, if it has so many."""

NAMED = 8
"""Frames, spread over the trajectory, by which a simulation of unknown origin is named."""

# Points in sixteenths of the box. The first six are on grids of four points per side, the next four on grids of eight;
# the odd ones see waves that vanish on those, as a forcing sin(4 y) does.
SIXTEENTHS = np.array([
    (0, 0), (8, 4), (4, 12), (12, 8), (0, 8), (4, 4),
    (2, 6), (10, 2), (6, 14), (14, 10),
    (1, 3), (5, 9), (9, 15), (13, 1), (3, 11), (11, 7),
])  # fmt: skip
COARSEST = 6
NUMBERS = 2 * len(SIXTEENTHS)


def sample(frames: Float[np.ndarray, "time 2 x y"], points: int) -> Float[np.ndarray, "time 32"]:
    """Values at the sample points of a grid of ``points`` per side, float32; NaN at those that the frames lack."""
    own = frames.shape[-1]
    wanted = SIXTEENTHS * points // 16
    there = (wanted * own % points == 0).all(axis=1)
    x, y = (wanted[there] * own // points).T
    out = np.full((len(frames), 2, len(wanted)), np.nan, np.float32)
    with np.errstate(over="ignore"):
        out[:, :, there] = frames[:, :, x, y]
    return out.reshape(len(frames), NUMBERS)


def spread(frames: int, count: int) -> Int[np.ndarray, " chosen"]:
    """Numbers of up to ``count`` frames, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, frames - 1, min(count, frames)).astype(int))


def same_simulation(
    times: Float[np.ndarray, " time"],
    samples: Float[np.ndarray, "time 32"],
    known: Float[np.ndarray, "known 32"],
    interval: float,
) -> bool:
    """Whether frames are among known ones, more than the first part that two simulations have in common.

    Flows that begin with one field, or at rest, and then part are different ones: of the frames that both have at the
    same time since a common one, more than half must agree, or more than half of all. Frames at rest say nothing.
    Samples are those of :func:`sample` for one grid; known frames are ``interval`` apart.
    """
    columns = np.isfinite(samples).any(axis=0) & np.isfinite(known).any(axis=0)
    if np.count_nonzero(columns) < LEAST:
        return False
    ours, theirs = samples[:, columns].astype(np.float64), known[:, columns].astype(np.float64)
    finite = np.isfinite(ours).all(axis=1)
    times, ours = times[finite], ours[finite]
    moving = ours.any(axis=1)
    if not moving.any() or not len(theirs):
        return False
    nearest = _nearest(ours, theirs)
    found = _agree(ours, theirs[nearest])
    if not found.any():
        return False
    if 2 * np.count_nonzero(found) > np.count_nonzero(moving):
        return True
    first = int(np.argmax(found))
    place = nearest[first] + (times - times[first]) / interval
    whole = np.rint(place).astype(int)
    both = moving & (np.abs(place - whole) < 0.05) & (whole >= 0) & (whole < len(theirs))
    partners = theirs[whole[both]]
    agreed = _agree(ours[both], partners)
    return bool(2 * np.count_nonzero(agreed) > np.count_nonzero(np.isfinite(partners).all(axis=1)))


def enough(frames: int, interval: float, known: int, known_interval: float) -> int:
    """How many frames of a trajectory to look up, so that some lie within a time window of known ones."""
    return max(FEWEST, int(np.ceil(4 * frames * interval / (known * known_interval))))


def name_of_frames(reynolds: float, forcing: int, frames: Float[np.ndarray, "time 2 x y"]) -> str:
    """The name of a simulation of unknown origin: a hash of its parameters and of frames spread over it."""
    content = hashlib.sha256(f"{reynolds:.6g} {forcing}".encode())
    with np.errstate(over="ignore"):
        content.update(np.ascontiguousarray(frames, dtype="<f4").tobytes())
    return f"frames-{content.hexdigest()[:16]}"


def first_frame_name(frame: Float[np.ndarray, "2 x y"]) -> str:
    """What such a simulation was called before: a hash of its first frame alone."""
    return "frame-" + hashlib.sha256(np.ascontiguousarray(frame, dtype="<f4").tobytes()).hexdigest()[:16]


def parameter_check(identity: str, reynolds: float, seed: int, forcing: int) -> int:
    """Checksum of what belongs to a whole trajectory, int32; of six digits of the Reynolds number."""
    return _signed(zlib.crc32(json.dumps([identity, f"{reynolds:.6g}", seed, forcing]).encode()))


def frame_checks(identity: str, frames: Float[np.ndarray, "time 2 x y"]) -> Int[np.ndarray, " time"]:
    """Checksums, int32, that tie frames to their simulation: of its name and of the points that coarser grids have."""
    samples = sample(frames, frames.shape[-1]).reshape(len(frames), 2, -1)[:, :, :COARSEST]
    begin = zlib.crc32(identity.encode())
    # Minus zero is zero.
    rows = (np.ascontiguousarray(samples, "<f4") + np.float32(0)).reshape(len(frames), -1)
    return np.array([_signed(zlib.crc32(row.tobytes(), begin)) for row in rows], np.int32)


def _signed(number: int) -> int:
    """NetCDF 3 has no unsigned numbers."""
    return number - 2**32 if number >= 2**31 else number


def _nearest(ours: Float[np.ndarray, "time n"], theirs: Float[np.ndarray, "known n"]) -> Int[np.ndarray, " time"]:
    finite = np.flatnonzero(np.isfinite(theirs).all(axis=1))
    if not len(finite):
        return np.zeros(len(ours), int)
    return finite[KDTree(theirs[finite]).query(ours)[1]]


def _agree(ours: Float[np.ndarray, "time n"], theirs: Float[np.ndarray, "time n"]) -> Bool[np.ndarray, " time"]:
    size = np.linalg.norm(theirs, axis=1)
    return (size > 0) & (np.linalg.norm(ours - theirs, axis=1) <= TOLERANCE * size)


@dataclass(frozen=True, eq=False)
class Names:
    """Names of simulations that a store keeps: of each trajectory (None where it has none), and all that are in it.

    ``checks (trajectory, time)`` tie frames to names (``frame_checks``); None if there are none. Names are ``sure`` if
    they go where the trajectories go.
    """

    own: tuple[str | None, ...]
    every: frozenset[str] = frozenset()
    checks: Int[np.ndarray, "trajectory time"] | None = None
    sure: bool = True


def kept_names(
    where: str,
    dataset: xr.Dataset,
    attributes: Mapping[str, Any],
    reynolds: Float[np.ndarray, " trajectory"],
    seeds: Sequence[int],
    forcing: int,
) -> Names:
    """The names in a store, checked against its Reynolds numbers and seeds.

    They are the coordinate ``identity``, which goes where xarray takes the trajectories. Earlier versions kept an
    attribute, which does not: there a generated trajectory is known by its Reynolds number and seed, another by its
    number among those of the original store.

    ValueError if a Reynolds number, a seed or a name is not the one that was written.
    """
    listed = attributes.get("identities")
    listed = [str(each) for each in listed] if isinstance(listed, list) else []
    if "identity" in dataset.variables and dataset["identity"].dims == ("trajectory",):
        try:
            own = tuple(str(each) for each in dataset["identity"].values)
        except SystemError as error:  # numbers that are no letters
            raise ValueError(f"{where}: identity is damaged ({error}): make or copy the data set again") from error
        if "seed" in dataset.variables:
            _check_parameters(where, dataset, own, reynolds, seeds, forcing)
        checks = None
        if "frame_check" in dataset.variables:
            kept = dataset["frame_check"]
            if sorted(map(str, kept.dims)) != ["time", "trajectory"]:
                raise ValueError(f"{where}: frame_check must have the dimensions trajectory, time; got {kept.dims}")
            checks = kept.transpose("trajectory", "time").values
        return Names(tuple(each or None for each in own), frozenset(own) | frozenset(listed), checks)
    if not listed:
        return Names((None,) * len(reynolds))
    every = frozenset(listed)
    members = _generated(attributes)
    if members is not None and set(members.values()) == every:
        asked = [(float(f"{each:.6g}"), seed) for each, seed in zip(reynolds, seeds, strict=True)]
        for number, member in enumerate(asked):
            if member not in members and seeds[number] != UNKNOWN_SEED:
                raise ValueError(
                    f"{where}: trajectory {number} has the Reynolds number {reynolds[number]:.9g} and the seed "
                    f"{seeds[number]}, which none of its simulations had: make or copy the data set again"
                )
        return Names(tuple(members.get(member) for member in asked), every)
    places = np.arange(len(reynolds))
    numbered = "trajectory" in dataset.variables
    if numbered:
        places = np.asarray(dataset["trajectory"].values)
    fits = places.dtype.kind in "iu" and (numbered or len(listed) == len(reynolds))
    inside = fits and bool(((places >= 0) & (places < len(listed))).all())
    found: tuple[str | None, ...] = tuple(listed[int(each)] for each in places) if inside else (None,) * len(reynolds)
    return Names(found, every, sure=inside and numbered)


def _check_parameters(
    where: str,
    dataset: xr.Dataset,
    own: Sequence[str],
    reynolds: Float[np.ndarray, " trajectory"],
    seeds: Sequence[int],
    forcing: int,
) -> None:
    if "check" not in dataset.variables or dataset["check"].dims != ("trajectory",):
        return
    for number, said in enumerate(dataset["check"].values.tolist()):
        if said != parameter_check(own[number], float(reynolds[number]), seeds[number], forcing):
            raise ValueError(
                f"{where}: reynolds, seed, identity or forcing of trajectory {number} (now {reynolds[number]:.9g}, "
                f"{seeds[number]}, {own[number]!r}, {forcing}) is not what was written: make or copy the data set "
                "again, or, if it was changed on purpose, remove its checksum (drop_vars('check'))"
            )


def _generated(attributes: Mapping[str, Any]) -> dict[tuple[float, int], str] | None:
    """Names by Reynolds number (to six digits) and seed, of a store that was generated."""
    if attributes.get("format") != FORMAT:
        return None
    try:
        plain = json.loads(attributes["configuration"])
        configuration = GenerationConfiguration(**{**plain, "reynolds": tuple(plain["reynolds"])})
        members, names = configuration.members(), configuration.identities()
    except (KeyError, TypeError, ValueError):
        return None
    return {(float(f"{r:.6g}"), seed): name for (r, seed), name in zip(members, names, strict=True)}
