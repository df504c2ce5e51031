"""closura: learn what a coarse simulation grid cannot resolve.

The public names live in the rooms: :mod:`closura.problems`, :mod:`closura.closures`, :mod:`closura.learners`,
:mod:`closura.runs`, :mod:`closura.evaluation`, :mod:`closura.interop`.
"""

from importlib.metadata import version as _version

__version__ = _version("closura")
