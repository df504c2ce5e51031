"""Registries: problems, closures, learners, metrics, figures, baselines and commands by name, wherever they come from.

An entry is one decorated object. It is found by

* its name, if it was registered in this process, is one of the package's own (:mod:`closura.entries`) or an entry
  point of another installed package (group ``closura.problems`` and its like),
* ``file.py`` or ``file.py:object``, a Python file, or
* ``package.module:object``.

Nothing is imported before it is asked for.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from closura.entries import ENTRIES

T = TypeVar("T")
FILE_MODULE = "closura_file_"
"""What names of modules begin with that are files of users."""


class Source(NamedTuple):
    """Where an entry comes from: the file that defines it, and the SHA-256 of what is in it."""

    path: str
    sha256: str


class Registry(Generic[T]):
    """Entries of one kind by name.

    Parameters
    ----------
    what
        What an entry is, in words ("problem"); entry points are looked for in ``closura.WHATs``.
    kind
        The class of the entries.
    """

    def __init__(self, what: str, kind: type[T]) -> None:
        self.what, self.kind = what, kind
        self._entries: dict[str, T] = {}
        self._modules: dict[str, ModuleType] = {}
        self._made: dict[int, tuple[object, T]] = {}

    @property
    def group(self) -> str:
        """The group of entry points."""
        return f"closura.{self.what}s"

    def add(self, name: str, entry: T, of: Any = None) -> T:
        """Register an entry; the same object, or one from the same file, may be registered again.

        ``of`` is the function or class that the entry was made of; where a decorator leaves it in its place, it stands
        for the entry in files and modules.
        """
        if not name or name.startswith("-") or any(c in name for c in "/\\:=. \t\n"):
            raise ValueError(f"a {self.what} needs a name without spaces, dots, colons, slashes or '='; got {name!r}")
        home = home_of(entry if of is None else of)
        if name in ENTRIES.get(self.group, {}) and home.startswith(FILE_MODULE):
            raise ValueError(f"{self.what} {name!r} is one of closura's own: give yours another name")
        module = sys.modules.get(home_of(entry))
        if module is not None and "__sha256__" in vars(module):  # a file, which is run once
            if name in self._entries and self._modules.get(name) is module:
                raise ValueError(f"{module.__file__} has two {self.what}s called {name}")
            self._modules[name] = module
        self._entries[name] = entry
        if of is not None:
            self._made[id(of)] = (of, entry)
        return entry

    def names(self) -> tuple[str, ...]:
        """All names that are known without importing anything."""
        return tuple(dict.fromkeys([*self._points(), *self._entries]))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._points()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def loaded(self) -> Mapping[str, T]:
        """What has been imported so far, by name."""
        return dict(self._entries)

    def all(self) -> dict[str, T]:
        """Every entry, imported."""
        return {name: self.find(name) for name in self.names()}

    def added(self) -> dict[str, T]:
        """Entries from outside the package, imported."""
        return {name: entry for name, entry in self.all().items() if not is_own(entry)}

    def find(self, text: str) -> T:
        """The entry of a name, a file or an object in a module."""
        if text in self._entries:
            return self._entries[text]
        place, _, attribute = text.partition(":")
        if place.endswith(".py"):
            return self._chosen(load_file(place), attribute, place)
        if attribute:
            try:
                module = importlib.import_module(place)
            except ImportError as error:
                raise ValueError(f"{self.what} {text!r}: cannot import {place} ({error})") from error
            return self._chosen(module, attribute, place)
        if text in self._points():
            value = self._points()[text].load()
            found = self._entry_of(value)
            if found is None:
                raise ValueError(f"entry point {text} of {self.group} is no {self.what} but {type(value).__name__}")
            # Importing it has registered it under its own name; an entry point may use another.
            return self._entries.setdefault(text, found)
        raise ValueError(self.unknown(text))

    def unknown(self, text: str) -> str:
        """What to say of a name that is not known."""
        near = difflib.get_close_matches(text, self.names(), 1, 0.6)
        guess = f", did you mean {near[0]}?" if near else ";"
        return f"unknown {self.what} {text!r}{guess} valid: {', '.join([*self.names(), 'or FILE.py:NAME'])}"

    def _points(self) -> dict[str, EntryPoint]:
        own = (EntryPoint(name, place, self.group) for name, place in ENTRIES.get(self.group, {}).items())
        return {point.name: point for point in (*entry_points(group=self.group), *own)}

    def _entry_of(self, value: Any) -> T | None:
        return value if isinstance(value, self.kind) else self._made.get(id(value), (None, None))[1]

    def _chosen(self, module: ModuleType, attribute: str, place: str) -> T:
        entries = {name: self._entry_of(value) for name, value in vars(module).items()}
        here = {name: entry for name, entry in entries.items() if entry is not None}
        if attribute:
            if attribute in here:
                return here[attribute]
            named = [value for value in here.values() if getattr(value, "name", None) == attribute]
            if named:
                return named[0]
            holds = f"it has {', '.join(here)}" if here else "it has none"
            raise ValueError(f"{place} has no {self.what} {attribute!r}: {holds}")
        # What a module imports from elsewhere is not its own.
        own = list({id(value): value for value in here.values() if home_of(value) == module.__name__}.values())
        if len(own) == 1:
            return own[0]
        if not own:
            raise ValueError(f"{place} defines no {self.what}: decorate one with @closura.{self.what}(...)")
        names = ", ".join(str(getattr(value, "name", value)) for value in own)
        raise ValueError(f"{place} defines several {self.what}s: choose one of {names} as {place}:NAME")


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file as a module of its own, once per content."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    file = file.resolve()
    # Two files of one name are two modules, and worker processes can import either by its path.
    name = f"{FILE_MODULE}{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{file.stem}"
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    if name in sys.modules and getattr(sys.modules[name], "__sha256__", None) == content:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__sha256__"] = content
    sys.modules[name] = module
    folder = str(file.parent)
    sys.path.append(folder)  # a file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        place = _line_in(str(file), error)
        raise ValueError(f"cannot import {path}{place}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def check_unchanged(path: str, sha256: str, what: str) -> None:
    """Refuse a file with another content than when it was recorded."""
    file = Path(path)
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        how = "has changed since" if file.is_file() else "is gone"
        raise ValueError(
            f"{what} came from {path}, which {how}: restore it, or name the file, as in closura evaluate FILE.py or "
            "--plugin FILE.py"
        )


PLUGINS: dict[str, Source] = {}
"""The files that a command was told to bring in, as it named them."""


def load_plugins(files: Sequence[str]) -> None:
    """Import the files that a command names beside its problem."""
    PLUGINS.clear()
    for file in files:
        try:
            PLUGINS[file] = Source(str(load_file(file).__file__), load_file(file).__dict__["__sha256__"])
        except (ValueError, OSError) as error:
            raise ValueError(f"--plugin: {error}") from error


def plugin_words(files: Iterable[str]) -> list[str]:
    """What brings files in, on the command line."""
    return [word for file in files for word in ("--plugin", file)]


def home_of(entry: object) -> str:
    """The module that defines an entry: that of a class or function, or of the first function that an object holds.

    An object may say it itself, as ``__module__``.
    """
    if isinstance(entry, type | FunctionType):
        return entry.__module__
    said = getattr(entry, "__dict__", {}).get("__module__")
    if isinstance(said, str):
        return said
    for value in getattr(entry, "__dict__", {}).values():
        while isinstance(value, partial):
            value = value.func
        if isinstance(value, FunctionType):
            return value.__module__
    return type(entry).__module__


def is_own(entry: object) -> bool:
    """Whether an entry belongs to the package."""
    return home_of(entry).startswith("closura.")


def place_in(entry: object, error: BaseException | None = None) -> str:
    """The file of an entry from outside the package and the line in it where an error arose, in brackets."""
    source = source_of(entry)
    if source is None:
        return ""
    return f" ({Path(source.path).name}{_line_in(source.path, error)})"


def _line_in(file: str, error: BaseException | None) -> str:
    frames, line = error.__traceback__ if error else None, ""
    while frames is not None:
        if frames.tb_frame.f_code.co_filename == file:
            line = f", line {frames.tb_lineno}"
        frames = frames.tb_next
    return line


def source_of(entry: object) -> Source | None:
    """The file that defines an entry, with the hash of its content; None for what belongs to the package."""
    module = sys.modules.get(home_of(entry))
    file = getattr(module, "__file__", None)
    if file is None or module is None or module.__name__.startswith("closura."):
        return None
    return Source(file, hashlib.sha256(Path(file).read_bytes()).hexdigest())
