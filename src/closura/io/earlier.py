"""Policies as they were stored before they were actor-critics around a closure.

=============================  =====================================================================
stored                         today
=============================  =====================================================================
``backbone.*``                 ``closure.backbone.*``
``head.*`` (stencils)          ``closure.head.*``
``actor.kernel``, ``.bias``    ``closure.head.*``, the first half of the last axis (mean), and
                               ``spread.*``, the second half (raw spread)
``spread.*``, ``critic.*``     the same
``closure.network.*``          the same
=============================  =====================================================================
"""

from collections.abc import Mapping

import numpy as np


def todays_names(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a stored policy under the names that they have in an :class:`~closura.closures.ActorCritic`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        place, _, rest = name.partition(".")
        if place in ("backbone", "head"):
            found[f"closure.{name}"] = array
        elif place == "actor" and array.ndim and array.shape[-1] % 2 == 0:
            found[f"closure.head.{rest}"], found[f"spread.{rest}"] = np.split(array, 2, axis=-1)
        else:
            found[name] = array
    return found
