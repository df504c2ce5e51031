"""The Kuramoto-Sivashinsky equation in a periodic box of length 60: a closure for exponax on 32 points."""

from dataclasses import dataclass

import exponax as ex

import closura


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings of the equation.

    Parameters
    ----------
    points
        Points of the coarse grid.
    ratio
        How many times more the reference has.
    time_step
        The coarse step; the reference takes half of it.
    """

    points: closura.Count = 32
    ratio: closura.Count = 4
    time_step: closura.Positive = 0.1


@closura.problem("ks", physics=Physics)
def kuramoto_sivashinsky(physics, split):
    """Chaos in one dimension, u_t + u u_x + u_xx + u_xxxx = 0, from states on its attractor."""

    def stepper(points, dt, order=2):
        return ex.stepper.KuramotoSivashinskyConservative(1, 60.0, points, dt, order=order)

    return closura.from_exponax(
        stepper=stepper, baselines={"order 4": lambda points, dt: stepper(points, dt, order=4)},
        points=physics.points, dt=physics.time_step, ratio=physics.ratio, time_ratio=2,
        initial=ex.ic.RandomTruncatedFourierSeries(1, cutoff=6, offset_range=(0.0, 0.0)), warm_up=100.0, horizon=200,
    )  # fmt: skip
