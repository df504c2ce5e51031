r"""A closure that is a Gaussian process from the filtered field's leading modes to those of the residual.

1. Frames are moved to the representatives of the flow's symmetries (:mod:`closura.offline.slices`).
2. The filtered frames' first POD coefficients, in one common unit, are the inputs; the residual's (full minus
   filtered), each in units of its own spread, the outputs. One kernel serves all outputs.
3. Length and noise by marginal likelihood. Then every block of consecutive training frames is predicted from the
   others, and from how well that goes every output gets

   * a share in [0, 1] of its mean to keep, the regression of reference on prediction: what cannot be predicted is not;
   * a variance ``s^2 (V + r)``, V being the process' own, with s and r by maximum likelihood.

4. What the residual has beyond its modes, again of left-out blocks, is added as a normal with the covariance of those
   remainders. So intervals say what is not known, also about directions that the training frames do not have.

The mean and standard deviation are in closed form; members are draws from the same distribution, in which frames near
each other go together. So frames of one question are taken for those of one trajectory: fields that have nothing to do
with each other are to be asked for one by one. The published closure, with which this shares the kernel method, is in
:mod:`closura.reproductions.published_gaussian_process`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from closura.offline.data import QUICK_VALIDATION
from closura.offline.filters import Filter
from closura.offline.gaussian_regression import KernelName, SharedGaussianProcess, fit_shared
from closura.offline.pod import POD, fit_pod
from closura.offline.sampler import ConditionalSampler, Frames, Members, check_pairs, check_question, sampler
from closura.offline.slices import Placement, place
from closura.settings import Count, Settings

FRAMES_AT_ONCE = 250
"""Frames of an ensemble that are drawn together, and so go together."""
REMAINDERS = 64
_JITTER = 1e-10
_ARRAYS = ("spreads", "shares", "scales", "extras", "remainders")


@dataclass(frozen=True)
class GaussianProcessSettings(Settings):
    """The residual Gaussian process.

    Parameters
    ----------
    inputs
        POD modes of the filtered field that the process sees.
    outputs
        POD modes of the residual that it predicts.
    points
        Training frames, evenly spaced among all, that it is made of; the cost grows with their cube.
    kernel
        matern52, matern32 or rbf.
    blocks
        Blocks of consecutive frames that are left out in turn to see what predictions are worth.
    symmetries
        Use the symmetries of the flow.
    """

    inputs: Count = 30
    outputs: Count = 100
    points: Count = 2000
    kernel: KernelName = "matern52"
    blocks: Count = 5
    symmetries: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 2:
            raise ValueError(f"at least two blocks are left out in turn; got {self.blocks}")

    @classmethod
    def preset(cls, preset: str) -> dict[str, Any]:
        """Settings of a fit: these, and what goes with them; KeyError where there is no such preset.

        The process sets its spread itself, from blocks of training frames that are left out in turn.
        """
        if preset == "paper":
            raise ValueError(
                "the published Gaussian process is fitted to and scored on one trajectory, its basis on the test "
                "frames too: python benchmarks/published_closures.py repeats it; for a closure of other flows take "
                "--preset default"
            )
        known: dict[str, dict[str, Any]] = {
            "default": {"settings": cls()},
            "quick": {"settings": cls(points=600), "validation": QUICK_VALIDATION},
        }
        return {"calibrate": False, **known[preset]}

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> "GaussianProcessSampler":
        """Fit to training frames in order of time; fewer modes where there are too few frames for them.

        Raises
        ------
        ValueError
            If the arrays are no pairs, or fewer than four frames per block.
        """
        check_pairs(filtered, full, least=4 * self.blocks)
        chosen = np.linspace(0, full.shape[0] - 1, min(self.points, full.shape[0])).round().astype(int)
        seen = np.asarray(filtered[chosen])
        residuals = np.asarray(full[chosen]) - seen
        used = forcing if self.symmetries else 0
        if used:
            placement = place(seen, used)
            seen, residuals = placement.apply(seen), placement.apply(residuals)
        blocks = np.array_split(np.arange(len(chosen)), self.blocks)
        most = len(chosen) - max(len(block) for block in blocks) - 1
        inputs = fit_pod(seen, min(self.inputs, most), remove_mean=True)
        outputs = fit_pod(residuals, min(self.outputs, most), remove_mean=True)
        unit = float(np.sqrt(np.mean(inputs.energies, dtype=np.float64))) or 1.0
        coefficients = np.asarray(outputs.project(residuals), np.float64)
        spreads = np.maximum(coefficients.std(axis=0), np.finfo(np.float32).tiny)
        process = fit_shared(
            np.asarray(inputs.project(seen), np.float64) / unit, coefficients / spreads, kernel=self.kernel
        )
        shares, scales, extras = _judge(process, self.blocks)
        return GaussianProcessSampler(
            inputs, outputs, process, unit, spreads, shares, scales, extras,
            _remainders(residuals, blocks, len(outputs)), used,
        )  # fmt: skip


@sampler("gp", settings=GaussianProcessSettings)
class GaussianProcessSampler(ConditionalSampler):
    """A fitted residual process; see the module. Host arrays, double precision inside."""

    inputs: POD
    outputs: POD
    process: SharedGaussianProcess
    unit: float
    spreads: Float[np.ndarray, " output"]
    shares: Float[np.ndarray, " output"]
    scales: Float[np.ndarray, " output"]
    extras: Float[np.ndarray, " output"]
    remainders: Float[np.ndarray, "frame component x y"]
    forcing: int

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.inputs.mean.shape)
        host, placement, seen = self._see(filtered)
        mean, variance = self.process.mean_and_variance(seen)
        residual = np.asarray(self.outputs.reconstruct((mean * self.shares * self.spreads).astype(host.dtype)))
        of_modes = (self.spreads * self.scales) ** 2 * (variance[:, None] + self.extras)
        squares = np.square(self.outputs.modes, dtype=np.float64)
        left = np.mean(np.square(self.remainders, dtype=np.float64), axis=0)
        variances = np.tensordot(of_modes, squares, axes=1) + left
        if placement is not None:
            residual, variances = placement.undo(residual), placement.undo_variance(variances)
        return host + residual, np.sqrt(variances).astype(host.dtype)

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.inputs.mean.shape, members)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
        host, placement, seen = self._see(filtered)
        out = np.empty((members, *host.shape), host.dtype)
        flat = self.remainders.reshape(len(self.remainders), -1).astype(host.dtype)
        for first in range(0, len(host), FRAMES_AT_ONCE):
            block = slice(first, min(first + FRAMES_AT_ONCE, len(host)))
            mean, covariance = self.process.predict(seen[block])
            count = len(mean)
            factor = np.linalg.cholesky(covariance + _JITTER * np.eye(count))
            together = factor @ rng.standard_normal((members, count, len(self.spreads)))
            alone = rng.standard_normal((members, count, len(self.spreads)))
            drawn = self.shares * mean + self.scales * (together + np.sqrt(self.extras) * alone)
            fields = self.outputs.reconstruct((drawn * self.spreads).astype(host.dtype))
            weights = rng.standard_normal((members, count, len(flat))) / np.sqrt(len(flat))
            fields = fields + (weights.astype(host.dtype) @ flat).reshape(fields.shape)
            if placement is not None:
                fields = Placement(
                    placement.distances[block], placement.slides[block], placement.turns[block], self.forcing
                ).undo(fields)
            out[:, block] = host[block] + fields
        return out

    def _see(self, filtered: Frames) -> tuple[np.ndarray, Placement | None, np.ndarray]:
        """The frames on the host, their placement, and what the process sees of them."""
        host = np.asarray(filtered)
        placement = place(host, self.forcing) if self.forcing else None
        moved = host if placement is None else placement.apply(host)
        return host, placement, np.asarray(self.inputs.project(moved), np.float64) / self.unit

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "points": self.process.inputs, "targets": self.process.targets}

    def facts(self) -> dict[str, Any]:
        p = self.process
        return {
            "kernel": p.kernel, "length": p.length, "noise": p.noise, "unit": self.unit, "forcing": self.forcing,
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "GaussianProcessSampler":
        process = SharedGaussianProcess(
            arrays["points"], arrays["targets"], facts["kernel"], facts["length"], facts["noise"]
        )
        own = {name: arrays[name] for name in _ARRAYS}
        inputs, outputs = (POD.from_state(arrays, prefix) for prefix in ("inputs.", "outputs."))
        return cls(inputs, outputs, process, facts["unit"], **own, forcing=facts["forcing"])


def _judge(process: SharedGaussianProcess, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the mean to keep, scale and extra variance of every output, from left-out blocks."""
    predicted, variance = process.left_out(blocks)
    power = np.maximum(np.sum(predicted**2, axis=0), np.finfo(np.float64).tiny)
    shares = np.clip(np.sum(predicted * process.targets, axis=0) / power, 0.0, 1.0)
    square = np.square(process.targets - shares * predicted)
    # For each candidate r, the best s^2 is the mean of e^2 / (V + r); what remains is a search in r alone.
    candidates = np.concatenate([[0.0], 10.0 ** np.arange(-7.0, 2.1, 0.25)])
    scales = np.stack([np.mean(square / (variance + r)[:, None], axis=0) for r in candidates])
    scales = np.maximum(scales, np.finfo(np.float64).tiny)
    fits = [np.mean(np.log(variance + r)) + np.log(s) for r, s in zip(candidates, scales, strict=True)]
    best = np.argmin(np.stack(fits), axis=0)
    return shares, np.sqrt(np.take_along_axis(scales, best[None], axis=0)[0]), candidates[best]


def _remainders(residuals: np.ndarray, blocks: list[np.ndarray], modes: int) -> np.ndarray:
    """Some of what left-out residuals have beyond the modes of the others, of the mean energy of all of it."""
    parts = []
    for block in blocks:
        basis = fit_pod(np.delete(residuals, block, axis=0), modes, remove_mean=True)
        parts.append(residuals[block] - basis.reconstruct(basis.project(residuals[block])))
    left = np.concatenate(parts)
    some = left[np.linspace(0, len(left) - 1, min(REMAINDERS, len(left))).round().astype(int)]
    energy, of_some = (float(np.mean(np.square(a, dtype=np.float64))) for a in (left, some))
    return (some * np.sqrt(energy / of_some) if of_some else some).astype(residuals.dtype)
