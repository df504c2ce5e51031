"""Settings: dataclasses whose values are checked against declared types and ranges, wherever they come from.

A range is part of a setting's type, ``learning_rate: Positive``; command line, files and Python meet the same check.
"""

import inspect
import sys
from collections.abc import Container
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from closura.seeds import LIMIT


@dataclass(frozen=True)
class Range:
    """Where a number must lie; ``above`` and ``below`` exclude the ends. Numbers are finite in any case.

    ``words`` say it, after "must".
    """

    least: int | float
    most: int | float = sys.float_info.max
    above: bool = False
    below: bool = False
    words: str = ""

    def __contains__(self, value: int | float) -> bool:
        low = self.least < value if self.above else self.least <= value
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        if self.words:
            return self.words
        low = f"be a finite number {'above' if self.above else 'of at least'} {self.least:g}"
        if self.most == sys.float_info.max:
            return low
        return f"{low} and {'below' if self.below else 'at most'} {self.most:g}"


Count = Annotated[int, Range(1, 2**31 - 1, words="be positive, a whole number below 2^31")]
Natural = Annotated[int, Range(0, 2**31 - 1, words="not be negative, a whole number below 2^31")]
Seed = Annotated[int, Range(0, LIMIT - 1, words="be a whole number from 0 to 2^63 - 1")]
Positive = Annotated[float, Range(0, above=True, words="be positive and finite")]
NotNegative = Annotated[float, Range(0, words="not be negative, and finite")]
Share = Annotated[float, Range(0, 1, words="lie between 0 and 1")]
Decay = Annotated[float, Range(0, 1, below=True, words="lie between 0 and 1, below 1")]


EARLIER = {"truth": "reference", "judge": "validation", "recipe": "settings"}
"""Names of settings in earlier versions, and today's: runs, weights and options that have them are still read."""


def todays_name(name: str, known: Container[str]) -> str:
    """The name that a setting has today, if it is one of those that are known."""
    today = EARLIER.get(name, name)
    return today if name not in known and today in known else name


@dataclass(frozen=True)
class Settings:
    """Base of dataclasses of settings: all values have the types and lie in the ranges that are declared.

    A ``__post_init__`` of a subclass calls this one first.

    Raises
    ------
    ValueError
        With the first setting that is refused, its value, and what it must be.
    """

    def __post_init__(self) -> None:
        _check(type(self), {f.name: getattr(self, f.name) for f in fields(self)})


def check_kind(kind: Any, whose: str) -> None:
    """Refuse what is no class of settings."""
    settings = isinstance(kind, type) and issubclass(kind, Settings)
    if not settings or (inspect.get_annotations(kind) and "__dataclass_fields__" not in vars(kind)):
        got = getattr(kind, "__name__", repr(kind))
        missing = "@dataclass(frozen=True)" if settings else "closura.Settings as its base"
        raise ValueError(f"{whose}: settings are a frozen dataclass, a closura.Settings; {got} lacks {missing}")


@dataclass(frozen=True)
class NoSettings(Settings):
    """What has no settings."""


def build_settings(kind: type[Any], values: Any) -> Any:
    """A dataclass of settings from plain values, as JSON holds them; nested ones too, and lists become tuples."""
    if not isinstance(values, dict):
        raise ValueError(f"settings of {kind.__name__} must be an object of names and values; got {values!r}")
    hints = hints_of(kind)
    known = {f.name for f in fields(kind)}
    values = {todays_name(name, known): value for name, value in values.items()}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown settings of {kind.__name__}: {', '.join(unknown)}")

    def of(name: str, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(hints[name], type) and is_dataclass(hints[name]):
            return build_part(name, hints[name], value)
        return as_tuples(value)

    built = {name: of(name, value) for name, value in values.items()}
    _check(kind, built)
    return kind(**built)


def build_part(name: str, kind: type[Any], values: Any) -> Any:
    """:func:`build_settings` for settings that are part of others under a name."""
    try:
        return build_settings(kind, values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def as_tuples(value: Any) -> Any:
    """A value of JSON or TOML with tuples for its lists."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value


_HINTS: dict[type[Any], dict[str, Any]] = {}


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """Types with their ranges; finding them takes longer than all checks."""
    if kind not in _HINTS:
        try:
            _HINTS[kind] = get_type_hints(kind, include_extras=True)
        except NameError as error:
            raise ValueError(f"types of the settings {kind.__name__}: {error}") from error
    return _HINTS[kind]


def _check(kind: type[Any], values: dict[str, Any]) -> None:
    hints = hints_of(kind)
    for name, value in values.items():
        if not _fits(hints[name], value):
            each = _each(hints[name])
            if each is not None and isinstance(value, tuple):
                wrong = next(item for item in value if not _fits(each, item))
                raise ValueError(f"each value of {name} must {_words(each)}; got {wrong!r}")
            raise ValueError(f"{name} must {_words(hints[name])}; got {value!r}")


def _each(hint: Any) -> Any:
    """The type of each entry, of tuples of any length; None for other types."""
    parts = get_args(hint)
    return parts[0] if get_origin(hint) is tuple and len(parts) == 2 and parts[1] is Ellipsis else None


def _fits(hint: Any, value: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(parts[0], value) and all(value in part for part in parts[1:] if isinstance(part, Range))
    if origin in (Union, UnionType):
        return any(_fits(part, value) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple and isinstance(value, tuple):
        if (each := _each(hint)) is not None:
            return all(_fits(each, item) for item in value)
        return len(parts) == len(value) and all(map(_fits, parts, value))
    if hint in (int, float):
        number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        return number and (hint is int or abs(value) <= sys.float_info.max)
    kind = origin or hint
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def _words(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [str(part) for part in parts[1:] if isinstance(part, Range)]
        return " and ".join(ranges) or _words(parts[0])
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in parts if part is not NoneType)  # none is said by saying nothing
    if origin is Literal:
        return f"be one of {', '.join(map(str, parts))}"
    if origin is tuple:
        if (each := _each(hint)) is not None:
            return f"be values, each of which must {_words(each)}"
        return f"be {len(parts)} values, which must {', '.join(map(_words, parts))}"
    plain = {int: "a whole number", float: "a finite number", bool: "True or False", str: "text"}
    return f"be {plain.get(hint, getattr(hint, '__name__', str(hint)))}"
