"""Values as JSON knows them, the same in every file that is written: numbers that are not finite are null."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value in types that JSON knows: numbers that are not finite become None, unknown objects text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """:func:`plain` as text, without what only Python takes for JSON (``NaN``, ``Infinity``)."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)
