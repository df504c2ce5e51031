"""The few numbers of Closure-RL's figures 2 and 4 that ours are laid beside.

J.-P. von Bassewitz, S. Kaltenbach, P. Koumoutsakos, "Closure Discovery for Coarse-Grained Partial Differential
Equations Using Grid-based Reinforcement Learning", CPAL 2025, arXiv:2402.00972; 100 simulations each. Read from
the vector graphics of the published figures (repository cselab/Closure-RL, ``results/figures``), in percent.
The figures count steps from 0 for the state after the first step; here, as everywhere, that is step 1.
"""

from functools import partial

from closura.core import Results
from closura.reporting.published_curves import PUBLICATIONS, LowErrorSteps, PublishedCurves

LEARNED = "Closure-RL"
"""What the published closure is called; CGS and ACGS are what they are here."""


def _repeats(problem: str, step: float, results: Results, /, **wanted: str) -> bool:
    """Whether results are those of a figure: preset, images, velocity (where they are named) and coarse time step."""
    said = results.description
    named = all(said.get(key, value).split(" ")[0] == value for key, value in wanted.items())
    ours = results.problem == problem and said.get("preset") == "paper" and results.uncorrected == "CGS"
    return ours and named and abs(results.time_step / step - 1) <= 1e-6


ADVECTION = PublishedCurves(
    name="closure-rl-advection",
    source="Closure-RL, Fig. 2 (advection, MNIST, 100 simulations)",
    centre="mean",
    error={
        "CGS": (0.196, 0.936, 1.848, 3.065, 5.164, 8.633, 11.73, 15.20),
        "ACGS": (0.182, 0.670, 1.179, 1.862, 3.186, 5.858, 8.746, 12.33),
        LEARNED: (0.191, 0.644, 0.972, 1.407, 2.479, 5.021, 8.054, 11.98),
    },
    std={
        "CGS": (0.06, 0.28, 0.51, 0.83, 1.42, 2.39, 3.5, 5.4),
        "ACGS": (0.06, 0.19, 0.32, 0.51, 0.92, 1.75, 3.0, 5.2),
        LEARNED: (0.05, 0.15, 0.24, 0.38, 0.85, 1.94, 3.5, 6.0),
    },
    reduction={
        "ACGS": (6.7, 27.9, 36.0, 39.2, 38.3, 32.3, 25.9, 20.1),
        LEARNED: (1.2, 29.6, 46.5, 53.7, 52.2, 42.6, 33.0, 23.9),
    },
    low_error_steps={
        "CGS": LowErrorSteps(11, 4, 32),
        "ACGS": LowErrorSteps(18, 5, 65),
        LEARNED: LowErrorSteps(26, 6, 94),
    },
    threshold=0.01,
    repeated_by=partial(_repeats, "advection", 0.25 / 64, images="mnist", velocity="train"),
)

BURGERS = PublishedCurves(
    name="closure-rl-burgers",
    source="Closure-RL, Fig. 4 (Burgers, 100 simulations)",
    centre="median",
    error={
        "CGS": (6.3, 17.5, 23.6, 27.0, 29.6, 41.6, 53.5, 59.5),
        LEARNED: (4.45, 6.98, 4.90, 4.62, 6.24, 14.0, 31.1, 61.3),
    },
    std={},
    reduction={LEARNED: (27.1, 59.3, 75.7, 77.6, 71.7, 55.0, 22.1, -14.8)},
    low_error_steps={"CGS": LowErrorSteps(3, 0, 9), LEARNED: LowErrorSteps(157, 3, 184)},
    threshold=0.1,
    repeated_by=partial(_repeats, "burgers", 0.03, velocity="train2"),
)

PUBLICATIONS.add(ADVECTION.name, ADVECTION)
PUBLICATIONS.add(BURGERS.name, BURGERS)
