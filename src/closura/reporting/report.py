"""One HTML file that shows comparisons and trainings: no network, no script, readable on a phone."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jinja2

from closura.core import Results
from closura.io.files import write_atomically
from closura.io.streams import printable
from closura.plain import plain
from closura.reporting.citations import sources_of
from closura.reporting.figure import FIGURES, SECTIONS, FigureKind
from closura.reporting.findings import findings
from closura.reporting.picture import data_uri
from closura.reporting.table import tables_of


def write_report(
    path: str | Path,
    *,
    title: str,
    comparisons: Results | Mapping[str, Results],
    figures: Mapping[str, Path] | Mapping[str, Mapping[str, Path]],
    training: Mapping[str, Any] | None = None,
    runs: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
    sources: Sequence[str] | None = None,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """Write the page; all images are inside the file.

    Parameters
    ----------
    path
        The HTML file, replaced atomically.
    title
        Title of the page.
    comparisons
        Results, or several under headings.
    figures
        Files by the names that :func:`closura.reporting.figure.write_figures` gives; for several comparisons one such
        dict under each heading. Unknown names are shown too.
    training
        ``configuration``, ``metrics`` (rows of the ``metrics.jsonl``) and ``environment`` (versions, device),
        each optional.
    runs
        The same for several trainings by name; each may also have ``status``, ``figure`` (its training curves)
        and ``command``.
    notes
        Paragraphs that a person wrote, shown with the findings.
    sources
        BibTeX entries of what was used; by default those that problems, closures and trainings say
        (:func:`closura.reporting.citations.sources_of`).
    failures
        What could not be written or drawn, with the reasons.

    Raises
    ------
    ValueError
        If the headings of figures and comparisons disagree, or a figure cannot be shown in a page.
    FileNotFoundError
        If a figure is missing.
    """
    if isinstance(comparisons, Results):
        headed: dict[str, Results] = {"": comparisons}
        pictures = {"": cast(Mapping[str, Path], figures)}
    else:
        headed = dict(comparisons)
        pictures = dict(cast(Mapping[str, Mapping[str, Path]], figures))
        unknown = set(pictures) - set(headed)
        if unknown:
            raise ValueError(f"figures for {sorted(unknown)}, but the comparisons are {sorted(headed)}")
    trained = {**({"": training} if training else {}), **(runs or {})}
    page = _template().render(
        title=printable(title),
        notes=notes,
        failures=failures or {},
        comparisons=[_comparison(heading, each, pictures.get(heading, {})) for heading, each in headed.items()],
        trainings={name: _training(name, run) for name, run in trained.items()},
        commands=list(dict.fromkeys(text for each in headed.values() if (text := _command(each)))),
        sources=sources_of(headed.values(), trained.values()) if sources is None else sources,
        version=_version(),
    )
    return write_atomically(path, printable(page, keep="\n\t"))


def _comparison(heading: str, results: Results, figures: Mapping[str, Path]) -> dict[str, Any]:
    about = f"{results.problem}, {results.simulations} simulations: {', '.join(results.methods)}"
    kinds, sections = FIGURES.all(), dict[str, list[dict[str, str]]]()
    order = {section: number for number, section in enumerate(SECTIONS)}

    def kind_of(name: str) -> FigureKind | None:
        return kinds.get(name) or kinds.get(name.partition("-")[0])

    def place(name: str) -> tuple[Any, ...]:
        kind = kind_of(name)
        if kind is None:
            return (len(order) + 1, "", 0, name)
        return (order.get(kind.section, len(order)), kind.section, kind.order, name)

    for name in sorted(figures, key=place):
        kind = kind_of(name)
        section = kind.section if kind else "More figures"
        caption = kind.caption if kind else name.replace("_", " ").capitalize() + "."
        picture = {"caption": caption, "about": about, "uri": data_uri(Path(figures[name]))}
        sections.setdefault(section, []).append(picture)
    return {
        "heading": heading,
        "findings": findings(results),
        "tables": tables_of(results),
        "learned": results.closures,
        "description": {key: value for key, value in results.description.items() if key != "split"},
        "figures": sections,
        "provenance": results.provenance,
    }


def _training(name: str, run: Mapping[str, Any]) -> dict[str, Any]:
    picture = None
    if run.get("figure"):
        caption = "What was recorded during training."
        picture = {"caption": caption, "about": name, "uri": data_uri(Path(run["figure"]))}
    known = {key: run.get(key) for key in ("status", "metrics", "environment", "configuration", "command")}
    return {**plain(known), "picture": picture}


def _command(results: Results) -> str:
    said = results.provenance.get("command")
    return said if isinstance(said, str) else " ".join(map(str, said or ()))


def _plain_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)


@lru_cache
def _template() -> jinja2.Template:
    text = files("closura.reporting").joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"plain_text": _plain_text, "pretty": _pretty}
    return environment.from_string(text)


def _version() -> str:
    try:
        return version("closura")
    except PackageNotFoundError:
        return "of unknown version"
