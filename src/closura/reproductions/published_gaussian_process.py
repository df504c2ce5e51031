r"""The published Gaussian-process closure, as its notebook computes it (arXiv 2510.24583), and its scoring.

1. POD (no mean taken off) of the filtered and, separately, of the full frames of one trajectory; three modes each.
   **The bases are those of all frames, the last 15 %, which are evaluated, among them.**
2. The first 85 % are training data, in order of time. Coefficients are standardised by them.
3. An independent process per output, ``C exp(-d^2 / 2 l^2)`` with C and l within 0.1 to 1000 by marginal likelihood
   from C = l = 1; on the diagonal a fixed ``alpha = 1``: noise as large as the signal. The noise is not part of the
   predicted variance.
4. Members are independent in time, mode and member.

The published scores compare *standardised* coefficients times the basis, of prediction and reference alike
(:func:`whitened`): no physical units, and without all that three modes leave out. Which reference makes which number is
in the documentation; ``bases="training"`` with ``training=1`` is the recipe without the leak.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from tinygp import GaussianProcess

from closura.offline.filters import Filter
from closura.offline.gaussian_regression import SharedGaussianProcess, kernel_of, maximise
from closura.offline.pod import POD, fit_pod
from closura.offline.sampler import ConditionalSampler, Frames, Members, check_pairs, check_question, sampler
from closura.settings import Count, NotNegative, Positive, Range, Settings

_ARRAYS = ("shift", "scale", "points", "targets", "variances", "lengths")


@dataclass(frozen=True)
class PublishedGaussianProcessSettings(Settings):
    """The published settings; others are its variants.

    Parameters
    ----------
    modes
        POD modes of the filtered and of the full field.
    training
        Fraction of the frames, from the first on, that the processes are fitted to.
    bases
        Frames that the bases are made from: all of them (published), or those of training.
    alpha
        On the diagonal of the covariance of standardised coefficients.
    lowest, highest
        Bounds of C and l.
    """

    modes: Count = 3
    training: Annotated[float, Range(0, 1, above=True)] = 0.85
    bases: Literal["all", "training"] = "all"
    alpha: NotNegative = 1.0
    lowest: Positive = 0.1
    highest: Positive = 1000.0

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> "PublishedGaussianProcessSampler":
        """Fit to all frames of a trajectory, of which the last are held out of the processes only.

        Raises
        ------
        ValueError
            If the arrays are no pairs, the fraction is not within (0, 1], or there are not more frames than modes.
        """
        check_pairs(filtered, full)
        count = int(self.training * full.shape[0])
        if count <= self.modes:
            raise ValueError(f"expected more training frames than the {self.modes} modes; got {count}")
        seen = slice(None) if self.bases == "all" else slice(count)
        bases = [fit_pod(np.asarray(frames[seen]), self.modes) for frames in (filtered, full)]
        raw = [
            basis.project(np.asarray(frames[:count])).astype(np.float64)
            for basis, frames in zip(bases, (filtered, full), strict=True)
        ]
        shift, scale = np.stack([a.mean(axis=0) for a in raw]), np.stack([a.std(axis=0) for a in raw])
        points, targets = ((a - m) / s for a, m, s in zip(raw, shift, scale, strict=True))
        fitted = [maximise_evidence(points, y, self.alpha, self.lowest, self.highest)[0] for y in targets.T]
        variances, lengths = np.asarray(fitted).T
        return PublishedGaussianProcessSampler(
            bases[0], bases[1], shift, scale, points, targets, variances, lengths, self.alpha
        )


@sampler("gp-published", settings=PublishedGaussianProcessSettings)
class PublishedGaussianProcessSampler(ConditionalSampler):
    """A fitted closure of the published kind: coefficients of the full field, in a few modes.

    ``shift`` and ``scale`` are mean and standard deviation of training coefficients: row 0 of inputs, row 1 of outputs.
    ``points`` and ``targets`` are standardised training coefficients, ``variances`` and ``lengths`` C and l of each
    output.
    """

    inputs: POD
    outputs: POD
    shift: Float[np.ndarray, "2 mode"]
    scale: Float[np.ndarray, "2 mode"]
    points: Float[np.ndarray, "frame mode"]
    targets: Float[np.ndarray, "frame mode"]
    variances: Float[np.ndarray, " mode"]
    lengths: Float[np.ndarray, " mode"]
    alpha: float

    def predict(self, filtered: Frames) -> tuple[Float[np.ndarray, "time mode"], Float[np.ndarray, "time mode"]]:
        """Mean and standard deviation of the standardised coefficients of the full field."""
        check_question(filtered, self.inputs.mean.shape)
        seen = (self.inputs.project(np.asarray(filtered)).astype(np.float64) - self.shift[0]) / self.scale[0]
        means, deviations = [], []
        for process, variance in zip(self._processes, self.variances, strict=True):
            mean, share = process.mean_and_variance(seen)
            means.append(mean[:, 0])
            # The shared process counts its noise, and knows variances in units of C.
            deviations.append(np.sqrt(np.maximum(variance * (share - process.noise), 0.0)))
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    @property
    def _processes(self) -> list[SharedGaussianProcess]:
        return [
            SharedGaussianProcess(self.points, self.targets[:, [j]], "rbf", float(length), float(self.alpha / variance))
            for j, (length, variance) in enumerate(zip(self.lengths, self.variances, strict=True))
        ]

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        mean, std = self.predict(filtered)
        return self._fields(mean * self.scale[1] + self.shift[1], std * self.scale[1], filtered.dtype)

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.inputs.mean.shape, members)
        mean, std = self.predict(filtered)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
        drawn = mean + std * rng.standard_normal((members, *mean.shape))
        return self.outputs.reconstruct((drawn * self.scale[1] + self.shift[1]).astype(filtered.dtype))

    def whitened(self, filtered: Frames, full: Frames) -> tuple[Frames, Frames, Frames]:
        """What the published scores are computed from: reference, mean, standard deviation.

        All three are standardised coefficients times the basis, about a hundredth of a velocity in size; the published
        standard deviation is that of 100 members, which scatters about this one.
        """
        mean, std = self.predict(filtered)
        reference = (self.outputs.project(np.asarray(full)).astype(np.float64) - self.shift[1]) / self.scale[1]
        return self._fields(reference, std, filtered.dtype)[0], *self._fields(mean, std, filtered.dtype)

    def truncated(self, full: Frames) -> Frames:
        """Full frames in the basis: a reference that knows nothing of what the modes leave out."""
        return self.outputs.reconstruct(self.outputs.project(full))

    def _fields(self, mean: np.ndarray, std: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        squares = np.square(self.outputs.modes, dtype=np.float64)
        variance = np.tensordot(std**2, squares, axes=1)
        return np.asarray(self.outputs.reconstruct(mean)).astype(dtype), np.sqrt(variance).astype(dtype)

    def facts(self) -> dict[str, Any]:
        return {"alpha": self.alpha}

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> "PublishedGaussianProcessSampler":
        inputs, outputs = (POD.from_state(arrays, prefix) for prefix in ("inputs.", "outputs."))
        return cls(inputs, outputs, **{name: arrays[name] for name in _ARRAYS}, alpha=facts["alpha"])


def maximise_evidence(
    points: Float[np.ndarray, "frame mode"],
    targets: Float[np.ndarray, " frame"],
    alpha: float = 1.0,
    lowest: float = 0.1,
    highest: float = 1000.0,
) -> tuple[Float[np.ndarray, "2"], float]:
    """C and l of one process at the maximum of the log marginal likelihood that is reached from 1, 1; and its value."""
    data = (np.asarray(points, np.float64), np.asarray(targets, np.float64), np.asarray(alpha, np.float64))
    return maximise(_evidence, np.ones(2), np.full(2, lowest), np.full(2, highest), data)


@jax.jit
def _evidence(parameters: Array, x: Array, y: Array, alpha: Array) -> tuple[Array, Array]:
    def evidence(parameters: Array) -> Array:
        kernel = parameters[0] * kernel_of("rbf", parameters[1])
        return GaussianProcess(kernel, x, diag=alpha).log_probability(y)

    return jax.value_and_grad(evidence)(parameters)
