"""The registry of figures, and writing all that suit some results."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from closura.core import Registry, Results
from closura.core.registry import is_own
from closura.io.files import write_atomically
from closura.parts import Parts, reason
from closura.reporting.kind import Kind
from closura.reporting.style import figure_settings, new_figure, save_figure

SECTIONS = ("Errors and cost", "Fields and actions")
"""The first sections of figures on a page; others follow in alphabetical order."""


@dataclass(frozen=True)
class FigureKind(Kind):
    """A figure: ``make(results, figure)`` draws on an empty figure of matplotlib.

    Parameters
    ----------
    caption
        What it shows.
    section
        Where it stands on a page.
    ending
        For pictures that are no figures of matplotlib, such as ".gif": ``make(results)`` gives the file's bytes.
    variants
        Where there are several figures of a kind: what follows its name in each file's name, and its arguments.
    """

    caption: str = ""
    section: str = SECTIONS[0]
    ending: str = ""
    variants: Callable[[Results], Mapping[str, Mapping[str, Any]]] = lambda results: {"": {}}

    @property
    def place(self) -> tuple[Any, ...]:
        """What figures of a page are sorted by."""
        known = SECTIONS.index(self.section) if self.section in SECTIONS else len(SECTIONS)
        return known, self.section, self.order, self.name

    def __call__(self, results: Results, path: str | Path | None = None, **options: Any) -> Figure | bytes:
        """Draw it, and write it where a path is given; ValueError if the results lack what it needs."""
        with figure_settings():
            canvas = new_figure(6.4, 4.2)
            content = self.make(results, **options) if self.ending else self.make(results, canvas, **options)
        if not isinstance(content, bytes):
            return save_figure(canvas, path)
        if path is not None:
            write_atomically(path, content)
        return content


FIGURES: Registry[FigureKind] = Registry("figure", FigureKind)


def figure(name: str, *, caption: str, **settings: Any) -> Callable[[Callable[..., Any]], FigureKind]:
    """Register a function that draws a figure: ``draw(results, figure)`` on an empty figure of matplotlib.

    .. code-block:: python

        @closura.figure("peaks", needs=("peak_error",), caption="Error of the largest value against time.")
        def peaks(results, figure):
            axes = figure.subplots()
            for name in results.compared:
                axes.plot(results.times, results.of("peak_error", name).mean(axis=0), label=name)
            axes.legend()

    ``name`` is also that of its file. Further settings are ``needs``, ``when``, ``problems``, ``order``
    (:class:`closura.reporting.kind.Kind`), ``section``, ``ending`` and ``variants`` (:class:`FigureKind`).
    """
    return lambda draw: FIGURES.add(name, FigureKind(name, draw, caption=caption, **settings))


def figures_of(
    results: Results, failures: dict[str, str] | None = None, known: Mapping[str, FigureKind] | None = None
) -> list[FigureKind]:
    """The figures that suit results, in the order of a page, of the ``known`` ones (default: all).

    Kinds that cannot say so, and those of plug-ins whose ``needs`` are misspelt, are put into ``failures``; of
    ``known`` ones all that lack something.
    """
    suiting = []
    for kind in (FIGURES.all() if known is None else known).values():
        try:
            if kind.suits(results):
                suiting.append(kind)
            elif not is_own(kind) and not results.is_sweep:
                _check_needs(kind, results, strictly=known is not None)
        except Exception as error:  # of a plug-in: it costs no other figure
            (failures if failures is not None else {})[kind.name] = reason(error)
    return sorted(suiting, key=lambda kind: kind.place)


def _check_needs(kind: FigureKind, results: Results, *, strictly: bool) -> None:
    """Refuse a figure that needs what results do not have, or at least what they have by a similar name."""
    for need in kind.needs:
        if need in results.data:
            continue
        near = difflib.get_close_matches(need, list(map(str, results.data)), 1, 0.8)
        if near or strictly:
            raise ValueError(f"needs {need}, which the results lack{f': did you mean {near[0]}?' if near else ''}")


def write_figures(
    results: Results,
    folder: str | Path,
    *,
    suffix: str = ".png",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    known: Mapping[str, FigureKind] | None = None,
) -> dict[str, Path]:
    """Write every figure that suits the results; returns the files by name.

    The format follows the ``suffix`` (animations are GIFs); ``options`` are further arguments of figures by name, and
    ``known`` are the figures to choose from (default: all).

    Raises
    ------
    NotAllWritten
        At the end, if some could not be drawn or written; the others are.
    """
    folder, parts = Path(folder), Parts()
    for kind in figures_of(results, parts.failures, known):
        try:
            variants = kind.variants(results)
        except Exception as error:
            parts.failures[kind.name] = reason(error)
            continue
        for which, variant in variants.items():
            name, given = f"{kind.name}{which}", {**variant, **dict((options or {}).get(kind.name, {}))}
            parts.write(name, folder / f"{name}{kind.ending or suffix}", partial(kind, results, **given))
    parts.close()
    return parts.written
