"""The registry of figures, and writing all that suit some results."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from closura.core import Registry, Results
from closura.core.registry import is_own
from closura.io.files import write_atomically
from closura.metrics.pareto import COST
from closura.parts import Parts, reason
from closura.reporting.style import figure_settings, new_figure, save_figure

SECTIONS = ("Errors and cost", "Fields and actions")
"""The first sections of figures on a page; others follow in alphabetical order."""


@dataclass(frozen=True)
class FigureKind:
    """What draws a figure of results that have what it needs; see :func:`figure`."""

    name: str
    draw: Callable[..., Any]
    caption: str
    needs: tuple[str, ...] = ()
    when: Callable[[Results], bool] = lambda results: True
    problems: tuple[str, ...] = ()
    section: str = SECTIONS[0]
    order: int = 50
    ending: str = ""
    variants: Callable[[Results], Mapping[str, Mapping[str, Any]]] = lambda results: {"": {}}

    def suits(self, results: Results) -> bool:
        """Whether the results have what it needs."""
        of_problem = not self.problems or results.problem in self.problems
        if results.is_sweep and COST not in self.needs:
            return False
        return of_problem and all(need in results.data for need in self.needs) and self.when(results)

    def __call__(self, results: Results, path: str | Path | None = None, **options: Any) -> Figure | bytes:
        """Draw it, and write it where a path is given; ValueError if the results lack what it needs."""
        with figure_settings():
            canvas = new_figure(6.4, 4.2)
            content = self.draw(results, **options) if self.ending else self.draw(results, canvas, **options)
        if isinstance(content, bytes):
            if path is not None:
                write_atomically(path, content)
            return content
        return save_figure(canvas, path)


FIGURES: Registry[FigureKind] = Registry("figure", FigureKind)


def figure(
    name: str,
    *,
    caption: str,
    needs: Iterable[str] = (),
    when: Callable[[Results], bool] = lambda results: True,
    problems: Iterable[str] = (),
    section: str = SECTIONS[0],
    order: int = 50,
    ending: str = "",
    variants: Callable[[Results], Mapping[str, Mapping[str, Any]]] = lambda results: {"": {}},
) -> Callable[[Callable[..., Any]], FigureKind]:
    """Register a function that draws a figure: ``draw(results, figure)`` on an empty figure of matplotlib.

    .. code-block:: python

        @closura.figure("peaks", needs=("peak_error",), caption="Error of the largest value against time.")
        def peaks(results, figure):
            axes = figure.subplots()
            for name in results.compared:
                axes.plot(results.times, results.of("peak_error", name).mean(axis=0), label=name)
            axes.legend()

    Parameters
    ----------
    name
        Its name, and that of its file.
    caption
        What it shows.
    needs
        Variables of the results without which there is nothing to draw.
    when
        Whether it makes sense for results that have them.
    problems
        Only for these problems (default: all).
    section, order
        Where it stands on a page.
    ending
        For pictures that are no figures of matplotlib, such as ".gif": the function takes the results alone and gives
        the file's bytes.
    variants
        Where there are several figures of a kind: what follows its name in each file's name, and its arguments.
    """

    def register(draw: Callable[..., Any]) -> FigureKind:
        kind = FigureKind(name, draw, caption, tuple(needs), when, tuple(problems), section, order, ending, variants)
        return FIGURES.add(name, kind)

    return register


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
    place = {section: number for number, section in enumerate(SECTIONS)}
    return sorted(suiting, key=lambda kind: (place.get(kind.section, len(place)), kind.section, kind.order, kind.name))


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
    """Write every figure that suits the results.

    Parameters
    ----------
    results
        What was measured.
    folder
        Where the files go; made if missing.
    suffix
        Ending, and so the format, of the figures: ``.png``, ``.pdf``, ``.svg`` (animations are GIFs).
    options
        Further arguments of figures by their names.
    known
        The figures to choose from (default: all).

    Returns
    -------
    dict
        The files by name.

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
            given = {**variant, **dict((options or {}).get(kind.name, {}))}

            def draw(path: Path, kind: FigureKind = kind, given: Mapping[str, Any] = given) -> object:
                return kind(results, path, **given)

            name = f"{kind.name}{which}"
            parts.write(name, folder / f"{name}{kind.ending or suffix}", draw)
    parts.close()
    return parts.written
