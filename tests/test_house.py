"""The rules of the house: names stay in their rooms, and imports point one way.

What still breaks a rule stands in a list here. The lists only get shorter: an entry whose reason is gone has to go too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import closura
from closura.entries import ENTRIES

SOURCE = Path(closura.__file__).parent

PLAIN_WORDS = {"weights"}
"""Names that are words of the language too: as text they need not be the closure of that name."""

LEVELS = (
    ("core", "io", "settings", "seeds", "entries", "plain", "parts", "grids", "interruption", "arrays"),
    ("numerics", "initial", "host"),
    ("problems", "closures", "metrics"),
    ("simulation", "trajectories", "offline"),
    ("reporting", "learners", "environment", "gymnasium", "runs", "interpretation", "export", "cards"),
    ("commands", "cli", "__main__", "reproductions", "evaluation"),
)
"""Rooms by height: each may import those beside and below it."""

REPORTED = {
    place.partition(":")[0].removeprefix("closura.")
    for group in ("closura.figures", "closura.tables", "closura.numbers", "closura.publications")
    for place in ENTRIES[group].values()
}
"""Modules with what reports show of a problem: they stand beside it, and belong to reporting."""

NAMES_ELSEWHERE: dict[str, str] = {
    "commands.data": "the flow that a data set is generated of",
    "commands.demo": "demonstrations of two problems",
    "initial.gas": "advection of a density wave, a case of its own",
    "io.closures": "the weights that come with the package",
    "reproductions.closure_rl_figures": "repeats publications on these problems",
    "trajectories.schema": "the kind of flow that a data set says it holds",
}
"""Modules that know names of other rooms' entries, each with its reason."""

UPWARD: set[str] = {
    "core.transfer -> numerics",
    "io.closures -> closures",
    "io.published -> closures",
    "io.weights -> closures",
    "problems.kolmogorov.evaluation -> simulation",
    "problems.laws.evaluate -> simulation",
    "problems.laws.front -> simulation",
    "problems.laws.references -> simulation",
    "problems.laws.snapshots -> simulation",
}
"""Imports that point upward."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package by its dotted name without ``closura.``, parsed."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        if name not in ("__init__", "entries"):  # the map of the house, and the table of entries
            yield name, ast.parse(path.read_text())


def texts(tree: ast.Module) -> Iterator[str]:
    """String literals that are no docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


def imports(tree: ast.Module) -> Iterator[str]:
    """Rooms that a module imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "closura":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("closura."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("closura."))


def test_names_of_entries_stay_in_their_rooms() -> None:
    """What is registered is found by its name; nobody else needs to know that name."""
    homes = {
        name: place.split(".")[1]
        for group in ("closura.problems", "closura.learners", "closura.closures")
        for name, place in ENTRIES[group].items()
        if name not in PLAIN_WORDS
    }
    found: dict[str, set[str]] = {}
    for module, tree in modules():
        named = {text for text in texts(tree) if homes.get(text, module.split(".")[0]) != module.split(".")[0]}
        if named:
            found[module] = named
    new = {module: sorted(named) for module, named in found.items() if module not in NAMES_ELSEWHERE}
    assert not new, "use the registry, a hook of the definition, or an entry of closura.entries"
    stale = sorted(set(NAMES_ELSEWHERE) - set(found))
    assert not stale, "no longer needed in NAMES_ELSEWHERE"


def test_imports_point_one_way() -> None:
    height = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
    found = set()
    for module, tree in modules():
        room = "reporting" if module in REPORTED else module.split(".")[0]
        assert room in height, f"give the room {room} a place in LEVELS"
        found |= {f"{module} -> {other}" for other in imports(tree) if height.get(other, 0) > height[room]}
    new, stale = sorted(found - UPWARD), sorted(UPWARD - found)
    assert not new, "imports point from commands down to core"
    assert not stale, "no longer needed in UPWARD"
