"""One HTML file that shows comparisons and trainings: no network, no script, readable on a phone."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from closura import __version__
from closura.core import Results
from closura.io.files import write_atomically
from closura.io.streams import printable
from closura.plain import plain
from closura.reporting.citations import sources_of
from closura.reporting.figure import FIGURES, FigureKind
from closura.reporting.findings import findings
from closura.reporting.table import tables_of

MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}

OTHERS = "More figures"
"""The section of figures that nothing registered draws, the last one."""


def write_report(
    path: str | Path,
    *,
    title: str,
    comparisons: Results | Mapping[str, Results],
    figures: Mapping[str, Path] | Mapping[str, Mapping[str, Path]],
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
    runs
        Trainings by name: ``status``, ``configuration``, ``metrics`` (rows of the ``metrics.jsonl``), ``environment``
        (versions, device), ``command``, ``figure`` (its training curves), each optional.
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
    single = isinstance(comparisons, Results)
    headed: dict[str, Results] = {"": comparisons} if isinstance(comparisons, Results) else dict(comparisons)
    pictures: dict[str, Any] = {"": figures} if single else dict(figures)
    if unknown := sorted(set(pictures) - set(headed)):
        raise ValueError(f"figures for {unknown}, but the comparisons are {sorted(headed)}")
    trained = runs or {}
    page = _template().render(
        title=printable(title),
        notes=notes,
        failures=failures or {},
        comparisons=[_comparison(heading, each, pictures.get(heading, {})) for heading, each in headed.items()],
        trainings={name: _training(name, run) for name, run in trained.items()},
        commands=list(dict.fromkeys(text for each in headed.values() if (text := _command(each)))),
        sources=sources_of(headed.values(), trained.values()) if sources is None else sources,
        version=__version__,
    )
    return write_atomically(path, printable(page, keep="\n\t"))


def _comparison(heading: str, results: Results, figures: Mapping[str, Path]) -> dict[str, Any]:
    about = f"{results.problem}, {results.simulations} simulations: {', '.join(results.methods)}"
    kinds, sections = FIGURES.all(), dict[str, list[dict[str, str]]]()

    def kind_of(name: str) -> FigureKind:
        caption = name.replace("_", " ").capitalize() + "."
        unknown = FigureKind(name, print, caption=caption, section=OTHERS)
        return kinds.get(name) or kinds.get(name.partition("-")[0]) or unknown

    for name in sorted(figures, key=lambda name: (kind_of(name).section == OTHERS, kind_of(name).place, name)):
        kind = kind_of(name)
        sections.setdefault(kind.section, []).append(_picture(kind.caption, about, figures[name]))
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
    known = {key: run.get(key) for key in ("status", "metrics", "environment", "configuration", "command")}
    picture = _picture("What was recorded during training.", name, run["figure"]) if run.get("figure") else None
    return {**plain(known), "picture": picture}


def _picture(caption: str, about: str, path: str | Path) -> dict[str, str]:
    return {"caption": caption, "about": about, "uri": data_uri(Path(path))}


def data_uri(path: Path) -> str:
    """A picture as the address of an ``img`` element; ValueError if a page cannot show the file."""
    kind = MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot show {path.name} in a page; expected one of {', '.join(MEDIA_TYPES)}")
    return f"data:{kind};base64,{base64.b64encode(small(path)).decode()}"


def small(path: Path) -> bytes:
    """The file's bytes; pictures with a palette of 256 colours where that is smaller (a third, for figures)."""
    content = path.read_bytes()
    if path.suffix.lower() != ".png":
        return content
    with Image.open(path) as image:
        reduced = BytesIO()
        flat = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        flat.save(reduced, "PNG", optimize=True)
    return min(content, reduced.getvalue(), key=len)


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
