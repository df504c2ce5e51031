"""What a store calls its simulations, and whether that can be believed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.frame_samples import parameter_check
from closura.trajectories.schema import FORMAT, UNKNOWN_SEED


@dataclass(frozen=True, eq=False)
class Names:
    """Names of simulations that a store keeps.

    Parameters
    ----------
    own
        The name of each trajectory, None where it has none.
    every
        All names that are in the store, whichever trajectories they belong to.
    checks
        ``(trajectory, time)``: checksums that tie frames to names (``frame_checks``), or None if there are none.
    sure
        Whether the names go where the trajectories go.
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

    Raises
    ------
    ValueError
        If a Reynolds number, a seed or a name is not the one that was written.
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
