r"""Statistics of long free runs: distributions of values and of regimes, and autocorrelation; NumPy.

    D(p || q) = sum_i p_i ln(p_i / q_i)

is the Kullback-Leibler divergence of a run's histogram q from the reference's p, in nats. A finite sample of N
independent values makes it about (bins - 1) / 2 (1/N + 1/N_reference) too large: compare with that of a second sample
of the reference.

*Values* are histograms of all components at all points together. *Regimes* are those of the leading principal
components of the reference's fields, after a running mean: in periodic, homogeneous systems they come in pairs (sine
and cosine of one wave), and the lengths of the first two pairs are what is counted, |(PC1, PC2)| and |(PC3, PC4)|.

Sources: Christensen, Moroz and Palmer (2015), Clim. Dyn. 44, 2195 (regimes of Lorenz-96); Parthipan, Christensen,
Hosking and Wischik (2023), Geosci. Model Dev. 16, 4501, and its published code (29 bins, 1e-10 added to densities).
"""

import numpy as np
from jaxtyping import Float, Float64

BINS = 29
"""Bins of equal width over the range of the reference."""
SMALLEST = 1e-10
"""Added to densities, as in the published code: empty bins cost much, not infinitely much."""

Runs = Float[np.ndarray, "..."]
"""``(run, time, component, *grid)``."""


def kl_divergence(reference: Float[np.ndarray, " n"], values: Float[np.ndarray, " m"], *, bins: int = BINS) -> float:
    """D(reference || values) of two samples, by histograms over the reference's range; infinite without values in it.

    Values beyond the range are in no bin, as in the published code.
    """
    edges = np.linspace(float(reference.min()), float(reference.max()), bins + 1)
    width = edges[1] - edges[0]
    counts = np.histogram(values, edges)[0]
    if not counts.sum() or not width > 0:
        return float("inf")
    p = np.histogram(reference, edges)[0] / len(reference) / width + SMALLEST
    q = counts / len(values) / width + SMALLEST
    return float(np.sum(p * np.log(p / q)) * width)


def kl_of_values(reference: Runs, runs: Runs) -> float:
    """Divergence of the distribution of values."""
    return kl_divergence(reference.ravel(), runs.ravel())


class Regimes:
    """Pairs of leading principal components of a reference.

    Parameters
    ----------
    reference
        Its runs.
    smooth
        Times of the running mean.
    pairs
        Number of pairs; fewer where fields have fewer numbers.
    """

    def __init__(self, reference: Runs, *, smooth: int = 4, pairs: int = 2) -> None:
        self.smooth = smooth
        fields = self._fields(reference)
        self._mean = fields.mean(axis=0)
        count = 2 * min(pairs, fields.shape[1] // 2)
        covariance = np.cov(fields, rowvar=False).reshape(fields.shape[1], fields.shape[1])
        self._components = np.linalg.eigh(covariance)[1][:, ::-1][:, :count]
        self._lengths = self.lengths(reference)

    def _fields(self, runs: Runs) -> Float64[np.ndarray, "sample number"]:
        flat = runs.reshape(*runs.shape[:2], -1).astype(np.float64)
        sums = np.cumsum(np.pad(flat, ((0, 0), (1, 0), (0, 0))), axis=1)
        smooth = min(self.smooth, flat.shape[1])
        return ((sums[:, smooth:] - sums[:, :-smooth]) / smooth).reshape(-1, flat.shape[2])

    def lengths(self, runs: Runs) -> Float64[np.ndarray, "pair sample"]:
        """The length of each pair of components at all times."""
        found = (self._fields(runs) - self._mean) @ self._components
        return np.sqrt(np.square(found).reshape(len(found), -1, 2).sum(axis=-1)).T

    def kl(self, runs: Runs) -> float:
        """Sum over the pairs of the divergences of their lengths."""
        return sum(kl_divergence(p, q) for p, q in zip(self._lengths, self.lengths(runs), strict=True))


def autocorrelation(runs: Runs, lags: int) -> Float64[np.ndarray, " lag"]:
    """Autocorrelation in time of values about their mean, lags 0 to ``lags``, in the mean over runs and points."""
    x = runs.astype(np.float64) - runs.mean(dtype=np.float64)
    count = x.shape[1]
    products = [np.mean(x[:, : count - lag] * x[:, lag:]) for lag in range(min(lags, count - 1) + 1)]
    return np.asarray(products) / products[0]


def autocorrelation_error(reference: Runs, runs: Runs, *, lags: int = 32) -> float:
    """Root mean square difference of the autocorrelations over lags 1 to ``lags``."""
    difference = autocorrelation(runs, lags) - autocorrelation(reference, lags)
    return float(np.sqrt(np.mean(np.square(difference[1:]))))
