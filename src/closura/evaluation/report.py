"""One HTML file that shows evaluations and trainings: no network, no script, readable on a phone."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from closura.evaluation.page import failures as page_failures
from closura.evaluation.page import page
from closura.evaluation.results import Evaluation
from closura.evaluation.sections import evaluation_section, repetition_section, training_section
from closura.evaluation.sources import sources_of
from closura.files import write_atomically


def write_report(
    path: str | Path,
    *,
    title: str,
    evaluations: Evaluation | Mapping[str, Evaluation],
    figures: Mapping[str, Path] | Mapping[str, Mapping[str, Path]],
    training: Mapping[str, Any] | None = None,
    runs: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
    sources: Sequence[str] | None = None,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """Write the report; all images are inside the file.

    Parameters
    ----------
    path
        The HTML file, replaced atomically.
    title
        Title of the page.
    evaluations
        One evaluation, or several under headings.
    figures
        Files by the names that :func:`closura.evaluation.figures.write_figures` gives; for several
        evaluations one such dict under each heading. Unknown names are shown too.
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
        (:func:`closura.evaluation.sources.sources_of`).
    failures
        What of the evaluation could not be written or drawn, with the reasons.

    Raises
    ------
    ValueError
        If the headings of figures and evaluations disagree, or a figure cannot be shown in a page.
    FileNotFoundError
        If a figure is missing.
    """
    if isinstance(evaluations, Evaluation):
        headed: dict[str, Evaluation] = {"": evaluations}
        pictures = {"": cast(Mapping[str, Path], figures)}
    else:
        headed = dict(evaluations)
        pictures = dict(cast(Mapping[str, Mapping[str, Path]], figures))
        unknown = set(pictures) - set(headed)
        if unknown:
            raise ValueError(f"figures for {sorted(unknown)}, but the evaluations are {sorted(headed)}")
    trained = {**({"": training} if training else {}), **(runs or {})}
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f"<p>{escape(note)}</p>" for note in notes] + page_failures(failures or {})
    if sources is None:
        sources = sources_of(headed.values(), trained.values())
    body += _contents(headed, bool(trained), bool(sources))
    for number, (heading, evaluation) in enumerate(headed.items()):
        if heading:
            body.append(f'<h2 id="evaluation-{number}">{escape(heading)}</h2>')
        body += evaluation_section(evaluation, pictures.get(heading, {}), "h3" if heading else "h2")
    body += training_section(trained) + repetition_section(headed, trained)
    if sources:
        body.append('<h2 id="sources">Sources</h2>')
        body += [f"<pre>{escape(source)}</pre>" for source in sources]
    body.append(f'<p class="faint">Written by closura {escape(_version())}.</p>')
    return write_atomically(path, page(title, body))


def _contents(headed: Mapping[str, Evaluation], trained: bool, sources: bool) -> list[str]:
    """Links to the sections, where there are several evaluations."""
    if len(headed) < 2:
        return []
    links = [(f"evaluation-{number}", heading) for number, heading in enumerate(headed)]
    links += [("training", "How it was trained")] if trained else []
    links += [("repeat", "How to repeat it")] + ([("sources", "Sources")] if sources else [])
    items = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)
    return [f"<nav><ul>{items}</ul></nav>"]


def _version() -> str:
    try:
        return version("closura")
    except PackageNotFoundError:
        return "of unknown version"
