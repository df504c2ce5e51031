r"""Everything that is asked of the physics of a flow, gathered block by block, and two flows compared.

Mean profiles and Reynolds stresses are those across a flow that is statistically the same all along x,

    U(y) = <u>,   V(y) = <v>,      R(y) = (<u'u'>, <u'v'>, <v'v'>),      u' = u - U(y),  v' = v - V(y)

with < > the mean over frames, members and x (Reynolds 1895; Pope, *Turbulent Flows*, 2000, section 4.1). For
Kolmogorov flow y is the axis across which the forcing varies.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values
from closura.metrics.ensembles._checks import velocity_of
from closura.metrics.ensembles._sums import ratio
from closura.metrics.ensembles.distributions import Histogram, wasserstein
from closura.metrics.ensembles.flow_statistics import (
    dissipation,
    energy_spectrum,
    kinetic_energy,
    relative_divergence,
    resolving_shell,
)

STRESSES = ("uu", "uv", "vv")
"""Names of the stresses, in the order of their profiles."""


@dataclass(frozen=True)
class Profiles:
    """Profiles across the flow; velocity, and velocity squared."""

    mean: Float64[np.ndarray, "component=2 y"]
    stresses: Float64[np.ndarray, "stress=3 y"]


def sums_of(velocity: Float64[np.ndarray, "frame component=2 x y"]) -> Float64[np.ndarray, "sum=5 y"]:
    """Sums over frames and x that profiles are made of; those of blocks add up."""
    u, v = velocity[:, 0], velocity[:, 1]
    # Sums of products lose digits where a mean flow dwarfs its fluctuations: of 16, twice those of the ratio.
    return np.stack([part.sum(axis=(0, 1)) for part in (u, v, u * u, u * v, v * v)])


def profiles_of(sums: Float64[np.ndarray, "sum=5 y"], number: int) -> Profiles:
    """Profiles of sums over so many values at each y."""
    u, v, uu, uv, vv = sums / number
    return Profiles(np.stack([u, v]), np.stack([uu - u * u, uv - u * v, vv - v * v]))


def stress_errors(prediction: Profiles, reference: Profiles) -> dict[str, float]:
    """Relative error of the stresses, ``||R - R_true|| / ||R_true||`` over y: of each, and of ``all`` together.

    In ``all``, uv counts twice, as it does in the symmetric tensor. NaN for a stress that is zero in the reference.
    """
    if prediction.stresses.shape != reference.stresses.shape:
        raise ValueError(
            f"profiles need the same points; got {prediction.stresses.shape[1]} and {reference.stresses.shape[1]}"
        )
    error = np.square(prediction.stresses - reference.stresses).sum(axis=1)
    size = np.square(reference.stresses).sum(axis=1)
    twice = np.array([1.0, 2.0, 1.0])
    pairs = [*zip(STRESSES, error, size, strict=True), ("all", (twice * error).sum(), (twice * size).sum())]
    return {name: float(np.sqrt(e / s)) if s > 0 else float("nan") for name, e, s in pairs}


@dataclass(frozen=True)
class FlowSummary:
    """Statistics of a flow over frames and members.

    Parameters
    ----------
    frames
        Frames that were seen, members counted one by one.
    energy, dissipation
        Mean kinetic energy and dissipation of each frame, ``(frame,)``, in the order in which frames came.
    spectrum
        Mean energy in shells ``floor(|k|)``; the sum is the mean energy.
    resolving_shell
        The shell up to which 99.99 % of the energy lie.
    divergence
        The largest relative divergence of any frame.
    profiles
        Mean velocity and Reynolds stresses across the flow.
    energies
        Histogram of the kinetic energy at points.
    """

    frames: int
    energy: Float64[np.ndarray, "frame"]
    dissipation: Float64[np.ndarray, "frame"]
    spectrum: Float64[np.ndarray, "shell"]
    resolving_shell: int
    divergence: float
    profiles: Profiles
    energies: Histogram


class FlowStatistics:
    """Accumulates a :class:`FlowSummary`.

    Parameters
    ----------
    reynolds
        Of the flow, for its dissipation.
    energy_range, bins
        Of the histogram of kinetic energy.
    """

    def __init__(
        self, reynolds: float | int, *, energy_range: tuple[float, float] = (0.0, 4.0), bins: int = 4000
    ) -> None:
        if not reynolds > 0:
            raise ValueError(f"the Reynolds number must be positive; got {reynolds}")
        self.reynolds = reynolds
        self._sums = np.zeros(())
        self._energies = Histogram(*energy_range, bins)
        self._energy: list[np.ndarray] = []
        self._dissipation: list[np.ndarray] = []
        self._spectrum: np.ndarray | None = None
        self._divergence = 0.0
        self._grid: tuple[int, ...] | None = None

    def add(self, velocity: Values) -> None:
        """Take frames ``(..., component=2, x, y)``: of one member or all of them."""
        field = velocity_of(velocity)
        field = field.reshape(-1, *field.shape[-3:])
        energy, spectrum = kinetic_energy(field), energy_spectrum(field).sum(axis=0)
        if self._grid not in (None, field.shape[-2:]):
            raise ValueError(f"all blocks need the same grid; got {field.shape[-2:]} after {self._grid}")
        self._sums = self._sums + sums_of(field)
        self._spectrum = spectrum if self._spectrum is None else self._spectrum + spectrum
        self._energies.add(energy)
        self._grid = field.shape[-2:]
        self._energy.append(energy.mean(axis=(-2, -1)))
        self._dissipation.append(dissipation(field, self.reynolds))
        self._divergence = max(self._divergence, float(relative_divergence(field).max()))

    def result(self) -> FlowSummary:
        """Statistics over everything that was added; ValueError if that is nothing."""
        if self._spectrum is None or self._grid is None:
            raise ValueError("nothing was added yet: call add(velocity) before asking for the result")
        energy = np.concatenate(self._energy)
        spectrum = self._spectrum / energy.size
        return FlowSummary(
            frames=energy.size,
            energy=energy,
            dissipation=np.concatenate(self._dissipation),
            spectrum=spectrum,
            resolving_shell=int(resolving_shell(spectrum)),
            divergence=self._divergence,
            profiles=profiles_of(self._sums, energy.size * self._grid[0]),
            # A copy: what is added later belongs to later results.
            energies=Histogram(self._energies.lower, self._energies.upper, self._energies.bins).merge(self._energies),
        )


def compare_flows(prediction: FlowSummary, reference: FlowSummary) -> dict[str, float]:
    """How far the statistics of one flow are from those of another.

    Returns
    -------
    ``energy``, ``dissipation``: relative error of the means, with sign. ``spectrum``: root mean square of the
    difference of decimal logarithms over the shells that hold 99.99 % of the true energy (k = 0 left out; infinite
    if the prediction has nothing in one of them). ``stress_uu``, ``stress_uv``, ``stress_vv``, ``stress_all``:
    relative errors of the profiles. ``energy_distance``: Wasserstein-1 of the energy at points;
    ``dissipation_distance``: of the dissipation of frames.
    """
    if prediction.spectrum.shape != reference.spectrum.shape:
        raise ValueError(f"spectra need the same shells; got {prediction.spectrum.size} and {reference.spectrum.size}")
    shells = slice(1, max(reference.resolving_shell, 1) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.log10(prediction.spectrum[shells]) - np.log10(reference.spectrum[shells])
    gap = gap[reference.spectrum[shells] > 0]
    errors = stress_errors(prediction.profiles, reference.profiles)

    def relative(mine: np.ndarray, true: np.ndarray) -> float:
        return ratio(float(mine.mean() - true.mean()), float(true.mean()))

    return {
        "energy": relative(prediction.energy, reference.energy),
        "dissipation": relative(prediction.dissipation, reference.dissipation),
        "spectrum": float(np.sqrt(np.square(gap).mean())) if gap.size else float("nan"),
        **{f"stress_{name}": value for name, value in errors.items()},
        "energy_distance": prediction.energies.distance(reference.energies),
        "dissipation_distance": wasserstein(prediction.dissipation, reference.dissipation),
    }
