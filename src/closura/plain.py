"""Values as JSON knows them, the same in every file that is written: numbers that are not finite are null."""

import json
import math
import re
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


def to_toml(table: Mapping[str, Any]) -> str:
    """Nested tables of plain values as TOML; what is None, or not finite, is left out."""

    def lines(part: Mapping[str, Any], name: str) -> list[str]:
        own = [f"{_key(k)} = {_toml(v)}" for k, v in part.items() if v is not None and not isinstance(v, dict)]
        heading = ["", f"[{name}]"] if name and (own or not part) else []
        tables = {k: v for k, v in part.items() if isinstance(v, dict)}
        below = [line for k, v in tables.items() for line in lines(v, f"{name}.{_key(k)}" if name else _key(k))]
        return [*heading, *own, *below]

    return "\n".join(lines(plain(table), "")).strip() + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value) if "." in repr(value) or "e" not in repr(value) else repr(value).replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)  # text, whole numbers, true and false read the same in both
