"""Words of the command line as values of declared types."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def read(hint: Any, words: Sequence[str]) -> Any:
    """The value that words stand for.

    Raises
    ------
    ValueError
        With what was expected and what was got.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return read(parts[0], words)
    if is_union(hint):
        if NoneType in parts and list(words) == ["None"]:
            return None
        return read(next(part for part in parts if part is not NoneType), words)
    if origin is tuple:
        if parts[-1] is not Ellipsis:
            return tuple(read(part, [word]) for part, word in zip(parts, words, strict=True))
        size = len(get_args(parts[0])) if get_origin(parts[0]) is tuple else 1
        if len(words) % size:
            raise ValueError(f"expected {metavar(hint)}; got {' '.join(words)}")
        return tuple(read(parts[0], words[i : i + size]) for i in range(0, len(words), size))
    word = words[0]
    if origin is Literal:
        for part in parts:
            if str(part) == word:
                return part
        near = difflib.get_close_matches(word, [str(part) for part in parts], 1)
        guess = f", did you mean {near[0]}?" if near else ";"
        raise ValueError(f"unknown {str(word)!r}{guess} valid: {', '.join(map(str, parts))}")
    try:
        return (Path if hint is Path else hint)(str(word))
    except (ValueError, TypeError):
        raise ValueError(f"expected {wanted(hint)}; got {str(word)!r}") from None


def wanted(hint: Any) -> str:
    """What stands behind an option, in words."""
    return {int: "a whole number", float: "a number"}.get(hint, metavar(hint))


def metavar(hint: Any) -> str:
    """What stands behind an option, in the short form of help."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return metavar(parts[0])
    if is_union(hint):
        return "|".join(metavar(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return "{" + ",".join(map(str, parts)) + "}"
    if origin is tuple:
        return f"[{metavar(parts[0])} ...]" if parts[-1] is Ellipsis else " ".join(map(metavar, parts))
    return str(getattr(hint, "__name__", hint)).upper()


def is_union(hint: Any) -> bool:
    """Whether a type is one of several."""
    return get_origin(hint) in (Union, UnionType)
