"""``--config FILE.toml``: options from a file, as if they stood first among those on the command line."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from closura.commands.options import FileWord, is_option
from closura.core.registry import check_unchanged

WITHOUT_PREFIX = ("physics", "correction", "baselines", "options")
"""Tables whose keys are options without a prefix."""

RECORD = ("made_with", "files")
"""What a ``configuration.toml`` says besides settings."""


def expanded(arguments: Sequence[str], command: str = "") -> list[str]:
    """The arguments of a command with the options of its configuration files in the place of ``--config``.

    A file's ``problem`` is the problem where the arguments name none; its ``files`` become those of ``--plugin``, if
    they are as they were.
    """
    rest, given = list(arguments), []
    while found := [i for i, word in enumerate(rest) if word.partition("=")[0] == "--config"]:
        at = found[0]
        _, equals, value = rest[at].partition("=")
        path = value if equals else "".join(rest[at + 1 : at + 2])
        if not path or is_option(path):
            raise ValueError("--config needs a TOML file")
        del rest[at : at + (1 if equals else 2)]
        given.append(path)
    first = list(takewhile(lambda word: not is_option(word), rest))
    options: list[str] = []
    for path in given:
        table = _read(path)
        if "made_with" in table and command not in ("train", ""):
            raise ValueError(f"{path} is that of a training, for closura train: give the run itself to other commands")
        problem = table.pop("problem", None)
        named = {Path(word.removeprefix("--plugin=")).resolve() for word in rest}
        for file, sha256 in table.pop("files", ()):
            if not str(problem).startswith(f"{file}:") and Path(file).resolve() not in named:
                check_unchanged(file, sha256, f"what {path} asks for")
                rest += ["--plugin", file]
        if not first and isinstance(problem, str):
            first, rest = [problem], [problem, *rest]
        options += words(table, path)
    return [*first, *options, *rest[len(first) :]]


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"--config: there is no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error


def words(table: Mapping[str, Any], path: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """The options of tables; ``path`` is the file that they come from."""
    for name, value in table.items():
        keys = (*above, name)
        if value is None or keys[0] in RECORD:
            continue
        if isinstance(value, dict):
            yield from words(value, path, keys)
            continue
        option = ".".join(keys[1:] if keys[0] in WITHOUT_PREFIX else keys).replace("_", "-")
        if isinstance(value, bool):
            prefix, _, last = option.rpartition(".")
            flag = last if value else f"no-{last}"
            option = f"{prefix}.{flag}" if prefix else flag
        flags = isinstance(value, bool | list)
        word = FileWord(f"--{option}" if flags else f"--{option}={value}")
        word.place, word.value = f"{path}: {'.'.join(keys)}" if path else "", value
        yield word
        if isinstance(value, list):
            yield from _flat(value)


def _flat(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield str(value)
