"""Words of a command as settings: options of dataclasses, help from their docstrings, what is wrong in one line."""

import difflib
import inspect
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from itertools import groupby, takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import jax
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from closura.settings import EARLIER, hints_of

T = TypeVar("T")
Positional = Annotated[T, "positional"]
"""An argument without an option. Further text in such annotations is the help, where no docstring has it."""
Repeated = Annotated[T, "repeated"]
"""An option of several values that may also be given several times; they are collected."""

HELP = {"-h", "--help"}
_Key = tuple[int, tuple[str, ...]]


class Group(NamedTuple):
    """Options of a dataclass.

    Parameters
    ----------
    values
        The defaults, or the class where it has them itself.
    prefix
        What the options' names begin with, before a dot.
    only
        Names of the fields that are options (default: all).
    choices
        Valid values of fields that are text, where they are known only now.
    hidden
        Names of fields that help does not show: they mean nothing here.
    """

    values: Any
    prefix: str = ""
    only: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = {}
    hidden: Collection[str] = ()


class FileWord(str):
    """An option in a configuration file: ``place`` says where (file and key), ``value`` what stands there."""

    place: str = ""
    value: Any = None


@dataclass(frozen=True)
class _Option:
    """One field of a group: its name on the command line, its type, and what may stand behind it."""

    group: int
    kind: type[Any]
    path: tuple[str, ...]
    name: str
    hint: Any
    default: Any
    marks: tuple[Any, ...] = ()
    choices: tuple[str, ...] = ()
    about: str = ""

    @property
    def key(self) -> _Key:
        return self.group, self.path

    @property
    def positional(self) -> bool:
        return "positional" in self.marks

    @property
    def flag(self) -> bool:
        return self.hint is bool

    @property
    def plain(self) -> Any:
        """Its type, if there is a value."""
        parts = get_args(self.hint) if _is_union(self.hint) else (self.hint,)
        return next(part for part in parts if part is not NoneType)

    @property
    def count(self) -> int | None:
        """Values that it takes; None for any number."""
        parts = get_args(self.plain) if get_origin(self.plain) is tuple else (str,)
        return None if parts[-1] is Ellipsis else len(parts)

    def takes(self, number: int) -> bool:
        """Whether so many values may stand behind it."""
        return number == self.count or (self.count is None and (number > 0 or "repeated" not in self.marks))

    @property
    def negative(self) -> str:
        """The option that switches a flag off."""
        prefix, _, last = self.name.removeprefix("--").rpartition(".")
        return f"--{prefix}.no-{last}" if prefix else f"--no-{last}"

    def read(self, words: Sequence[str]) -> Any:
        if not self.choices:
            return _read(self.hint, words)
        if get_origin(self.hint) is Literal:
            return _read(Literal[self.choices], words)
        try:
            return _read(Literal[self.choices], words)
        except ValueError as error:
            raise ValueError(f"{error}, or a FILE.py, or what --plugin FILE.py adds") from None

    @property
    def owner(self) -> type[Any]:
        """The class that declares the field."""
        return next(c for c in reversed(self.kind.__mro__) if self.path[-1] in vars(c).get("__annotations__", {}))

    def help(self) -> str:
        """What it is, and its default."""
        if self.default in (MISSING, None, ()) or self.positional:
            return self.about
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return f"{self.about} (default: {' '.join(map(str, values))})".strip()

    def shown(self) -> str:
        """Its name and values as help shows them."""
        values = "{" + ",".join(self.choices) + "}" if self.choices else _metavar(self.hint)
        if self.positional:
            return values
        return f"{self.name}, {self.negative}" if self.flag else f"{self.name} {values}"


def parse(kind: type[T], arguments: Sequence[str], *, prog: str, description: str) -> T:
    """What the arguments of a command say that has one class of options; see :func:`parse_groups`."""
    return parse_groups(arguments, Group(kind), prog=prog, description=description)[0]


def parse_groups(arguments: Sequence[str], *groups: Group, prog: str, description: str) -> Any:
    """What the arguments of a command say: a tuple with a dataclass for each group.

    ``prog`` is the command and ``description`` what it does, for the help.
    """
    options = [option for number, group in enumerate(groups) for option in _options(number, group)]
    if HELP & set(arguments):
        _print_help(prog, description, groups, options)
        sys.exit(0)
    every = f"all options: {prog} --help"
    found, places = _values(arguments, options, every)
    missing = [o for o in options if o.default is MISSING and o.key not in found]
    if missing:
        names = [" or ".join(_metavar(o.hint).strip("{}").split(",")) if o.positional else o.name for o in missing]
        raise ValueError(f"{', '.join(names)} must be given; {every}")
    made = []
    for number, group in enumerate(groups):
        changes = {path: value for (of, path), value in found.items() if of == number}
        try:
            made.append(_made(group.values, changes))
        except ValueError as error:
            named = [p for p in changes if p[-1] in str(error)]
            where = next((places[number, p] for p in named if (number, p) in places), "")
            if named and group.prefix and not where:
                where = f"--{'.'.join([group.prefix, *named[0]]).replace('_', '-')}"
            where = where or ("" if str(error).startswith(f"{group.prefix}:") else group.prefix)
            raise ValueError(f"{where}: {error}" if where else str(error)) from None
    return tuple(made)


def given(arguments: Sequence[str], *names: str) -> dict[str, Any]:
    """Values of a few options (the last one given) before the others are known; None where absent.

    Of options that stand alone, or before another one, the value is "".
    """
    found: dict[str, Any] = dict.fromkeys(names)
    for word, after in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name in found:
            found[name] = value if equals else ("" if after.startswith("-") else after)
    return found


def only_options(arguments: Sequence[str], names: Collection[str]) -> list[str]:
    """The words of the arguments that belong to a few settings, before the others are known."""
    found: list[str] = []
    takes = False
    for word in arguments:
        if word.startswith("--"):
            name = word.partition("=")[0].removeprefix("--").replace("-", "_")
            takes = name in names or name.removeprefix("no_") in names
        if takes:
            found.append(word)
    return found


def _options(number: int, group: Group, path: tuple[str, ...] = ()) -> list[_Option]:
    plain = isinstance(group.values, type)
    kind = group.values if plain else type(group.values)
    hints, about = hints_of(kind), documented(kind)
    found = []
    for f in fields(kind):
        if group.only and f.name not in group.only:
            continue
        hint, *marks = get_args(hints[f.name]) if get_origin(hints[f.name]) is Annotated else (hints[f.name],)
        usual = f.default if f.default_factory is MISSING else f.default_factory()
        default = usual if plain else getattr(group.values, f.name)
        name = ".".join(part.replace("_", "-") for part in (group.prefix, f.name) if part)
        if is_dataclass(default):
            found += _options(number, Group(default, name), (*path, f.name))
            continue
        texts = [mark for mark in marks if isinstance(mark, str) and mark not in ("positional", "repeated")]
        text = next(iter(texts), about.get(f.name, ""))
        choices = tuple(group.choices.get(f.name, ()))
        found.append(_Option(number, kind, (*path, f.name), f"--{name}", hint, default, tuple(marks), choices, text))
    return found


def _made(values: Any, changes: Mapping[tuple[str, ...], Any]) -> Any:
    """The dataclass with values changed, also those of dataclasses in it."""
    own: dict[str, Any] = {path[0]: value for path, value in changes.items() if len(path) == 1}
    for name in dict.fromkeys(path[0] for path in changes if len(path) > 1):
        below = getattr(values() if isinstance(values, type) else values, name)
        own[name] = _made(below, {path[1:]: value for path, value in changes.items() if path[0] == name})
    return values(**own) if isinstance(values, type) else replace(values, **own)


def _values(
    arguments: Sequence[str], options: Sequence[_Option], every: str
) -> tuple[dict[_Key, Any], dict[_Key, str]]:
    """Values by group and field, and the places in files that they come from."""
    known = {o.name: o for o in options if not o.positional}
    known |= {o.negative: o for o in options if o.flag}
    words: dict[_Key, list[str]] = {}
    filed: dict[_Key, bool] = {}
    places: dict[_Key, str] = {}
    found: dict[_Key, Any] = {}
    loose: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not is_option(word):
            if not word:
                raise ValueError(f"an argument is empty: give a value, or leave it out; {every}")
            loose.append(word)
            continue
        name, equals, value = word.partition("=")
        name, place, held = name.replace("_", "-"), getattr(word, "place", ""), getattr(word, "value", None)
        option = known.get(name) or known.get("--" + ".".join(EARLIER.get(p, p) for p in name[2:].split(".")))
        if option is None:
            raise ValueError(_unknown(name, list(known), place, every))
        key = option.key
        if place:
            places[key] = place
        else:
            places.pop(key, None)
        if option.flag:
            if equals or (place and not isinstance(held, bool)):
                raise ValueError(f"{place or name}: expected true or false; got {held if place else value!r}")
            found[key] = name == option.name
            continue
        count = None if isinstance(held, list) else option.count
        values = [value] if equals else list(takewhile(lambda w: not is_option(w), rest[:count]))
        rest = rest if equals else rest[len(values) :]
        if "" in values and name != "--title":
            raise ValueError(f"{name} is empty: give a value, or leave it out; {every}")
        quoted = isinstance(held, str) and _metavar(option.hint) in ("INT", "FLOAT")
        if quoted or isinstance(held, bool) or not option.takes(len(values)):
            got = repr(held) if place else " ".join(values) or "nothing"
            raise ValueError(f"{place or name}: expected {_wanted(option.hint)}; got {got}")
        adds = "repeated" in option.marks and filed.get(key) == bool(place)  # typed ones replace those of a file
        words[key], filed[key] = [*words[key], *values] if adds else values, bool(place)
        try:
            found[key] = option.read(words[key])
        except ValueError as error:
            raise ValueError(f"{place or name}: {error}") from None
    for option in (o for o in options if o.positional):
        taken = loose if option.count is None else loose[: option.count]
        loose = loose[len(taken) :]
        if taken or option.count is None:
            found[option.key] = option.read(taken)
    if loose:
        raise ValueError(f"unknown argument {loose[0]}; {every}")
    return found, places


def is_option(word: str) -> bool:
    """Whether a word is an option, and no value."""
    return word.startswith("-") and word != "-" and not re.match(r"-\.?\d|-inf|-nan", word)


def _unknown(name: str, known: Sequence[str], place: str, every: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.7)
    if place:
        guess = f", did you mean {near[0].removeprefix('--')}?" if near else ";"
        return f"{place}: unknown key{guess} {every}"
    guess = f"did you mean {near[0]}? " if near else ""
    return f"unknown option {name}; {guess}{every}"


def _read(hint: Any, words: Sequence[str]) -> Any:
    """The value that words stand for; ValueError with what was expected and what was got."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _read(parts[0], words)
    if _is_union(hint):
        if NoneType in parts and list(words) == ["None"]:
            return None
        return _read(next(part for part in parts if part is not NoneType), words)
    if origin is tuple:
        if parts[-1] is not Ellipsis:
            return tuple(_read(part, [word]) for part, word in zip(parts, words, strict=True))
        size = len(get_args(parts[0])) if get_origin(parts[0]) is tuple else 1
        if len(words) % size:
            raise ValueError(f"expected {_metavar(hint)}; got {' '.join(words)}")
        return tuple(_read(parts[0], words[i : i + size]) for i in range(0, len(words), size))
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
        raise ValueError(f"expected {_wanted(hint)}; got {str(word)!r}") from None


def _wanted(hint: Any) -> str:
    """What stands behind an option, in words."""
    return {int: "a whole number", float: "a number"}.get(hint, _metavar(hint))


def _metavar(hint: Any) -> str:
    """What stands behind an option, in the short form of help."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _metavar(parts[0])
    if _is_union(hint):
        return "|".join(_metavar(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return "{" + ",".join(map(str, parts)) + "}"
    if origin is tuple:
        return f"[{_metavar(parts[0])} ...]" if parts[-1] is Ellipsis else " ".join(map(_metavar, parts))
    return str(getattr(hint, "__name__", hint)).upper()


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def documented(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each field (numpydoc's section "Parameters")."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n\S|\Z)", inspect.cleandoc(each.__doc__ or ""), re.S | re.M)
        for entry in re.split(r"\n(?=\S)", section[1]) if section else ():
            names, _, text = entry.partition("\n")
            found |= dict.fromkeys(re.split(r",\s*", names), " ".join(text.split()))
    return found


def _print_help(prog: str, description: str, groups: Sequence[Group], options: Sequence[_Option]) -> None:
    """Options in boxes, one for each class that declares some, with what its docstring says of it."""
    console = Console(markup=False, highlight=False, emoji=False)
    places = "".join(f" {o.shown()}" for o in options if o.positional)
    console.print(
        f"usage: {prog}{places} [OPTIONS] [--help] [--config FILE.toml] [--plugin FILE.py]\n\n{description}\n"
    )
    shown = [o for o in options if o.path[-1] not in groups[o.group].hidden]
    for (number, owner), mine in groupby(shown, lambda o: (o.group, o.owner)):
        table = Table.grid()
        if summary := _summary(owner):
            table.add_row(Text(summary, style="dim"))
        for option in mine:
            table.add_row(Text(option.shown(), style="bold"))
            table.add_row(Padding(Text(option.help()), (0, 0, 0, 4)))
        prefix = groups[number].prefix
        console.print(Panel(table, title=f"{prefix} options".strip(), title_align="left", border_style="dim"))


def _summary(kind: type[Any]) -> str:
    """The first paragraph of a docstring."""
    text = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return "" if text.startswith(f"{kind.__name__}(") else " ".join(text.split())  # dataclasses without one get theirs


def use_precision(settings: Any) -> None:
    """Let arrays be 64 bits wide where settings ask for it (``precision="float64"``), before any array is made."""
    precision = settings if isinstance(settings, str) else getattr(settings, "precision", "float32")
    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
