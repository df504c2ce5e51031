"""What to cite: the publications behind the problems, schemes, closures and learners of a report."""

from collections.abc import Iterable, Mapping
from typing import Any

from closura.closures import CLOSURES
from closura.core import Results
from closura.core.definition import PROBLEMS
from closura.learners import LEARNERS

SCHEMES = {
    "-js": """\
@article{jiang1996efficient,
  title         = {Efficient implementation of weighted {ENO} schemes},
  author        = {Jiang, Guang-Shan and Shu, Chi-Wang},
  journal       = {Journal of Computational Physics},
  volume        = {126},
  number        = {1},
  pages         = {202--228},
  year          = {1996},
  doi           = {10.1006/jcph.1996.0130}
}""",
    "-z": """\
@article{borges2008improved,
  title         = {An improved weighted essentially non-oscillatory scheme for hyperbolic conservation laws},
  author        = {Borges, Rafael and Carmona, Monique and Costa, Bruno and Don, Wai Sun},
  journal       = {Journal of Computational Physics},
  volume        = {227},
  number        = {6},
  pages         = {3191--3211},
  year          = {2008},
  doi           = {10.1016/j.jcp.2007.11.038}
}""",
    "teno": """\
@article{fu2016family,
  title         = {A family of high-order targeted {ENO} schemes for compressible-fluid simulations},
  author        = {Fu, Lin and Hu, Xiangyu Y. and Adams, Nikolaus A.},
  journal       = {Journal of Computational Physics},
  volume        = {305},
  pages         = {333--359},
  year          = {2016},
  doi           = {10.1016/j.jcp.2015.10.037}
}""",
}
"""Weighted schemes by a part of their names."""


def sources_of(evaluations: Iterable[Results], trainings: Iterable[Mapping[str, Any]] = ()) -> tuple[str, ...]:
    """BibTeX entries of the evaluated problems, and of the networks and learners of trainings that are shown.

    ``trainings`` hold the plain ``configuration`` of a training each, where it is known.
    """
    found: list[str] = []
    for results in evaluations:
        if results.problem in PROBLEMS:
            found.extend(PROBLEMS.find(results.problem).sources)
        found += [results.attribute("sources")] if results.attribute("sources") else []
        schemes = results.data["scheme"].values.tolist() if "scheme" in results.data.coords else []
        found += [text for part, text in SCHEMES.items() if any(part in name for name in schemes)]
    for training in trainings:
        configuration = training.get("configuration") or {}
        closure, learner = configuration.get("closure", ""), configuration.get("learner", "")
        found += CLOSURES.find(closure).sources if closure in CLOSURES else ()
        found += LEARNERS.find(learner).sources if learner in LEARNERS else ()
    return tuple(dict.fromkeys(found))
