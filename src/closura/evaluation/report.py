"""One HTML file that shows an evaluation: no network, no script, readable on a phone."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, cast

from closura.evaluation.findings import findings
from closura.evaluation.metrics import plain
from closura.evaluation.results import Evaluation
from closura.evaluation.tables import footnotes, table_rows
from closura.files import write_atomically

CLOSURE_RL_BIBTEX = """\
@inproceedings{vonbassewitz2025closure,
  title         = {Closure Discovery for Coarse-Grained Partial Differential Equations
                   Using Grid-based Reinforcement Learning},
  author        = {von Bassewitz, Jan-Philipp and Kaltenbach, Sebastian and Koumoutsakos, Petros},
  booktitle     = {Conference on Parsimony and Learning (CPAL)},
  year          = {2025},
  eprint        = {2402.00972},
  archivePrefix = {arXiv}
}"""

# Section, then name of the figure, what it shows.
_FIGURES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Errors and cost",
        (
            (
                "error_curves",
                "Relative error against the step: mean and standard deviation.",
            ),
            ("error_curves_median", "The same with the median and the quartiles."),
            ("improvement", "Improvement on the coarse solver; faint lines are single simulations."),
            ("steps_below_threshold", "Steps that simulations stay below the threshold; medians written."),
            ("mass_error", "Relative error of the total of the field."),
            ("cost", "Error at the last step against the time of a step; down and left is better."),
        ),
    ),
    (
        "Fields",
        (
            ("fields", "Fields of one simulation, one colour scale for all. Grey: not finite."),
            ("field_errors", "Difference to the truth in the same simulation."),
            ("animation", "The same simulation, moving."),
        ),
    ),
    ("Training", (("training", "What was recorded during training."),)),
)
_MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #5c6670; --line: #d5dae0;
  --soft: #f4f6f8; --strong: #e8f1fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --faint: #9aa5b0;
  --line: #363c43; --soft: #1d2125; --strong: #1b2c3d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
p, li { max-width: 50rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 1.6rem; } small, .faint, figcaption { color: var(--faint); font-size: .88rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tr.learned th, tr.learned td { background: var(--strong); font-weight: 600; }
table.words th, table.words td { text-align: left; white-space: normal; font-weight: normal; }
table.words th { color: var(--faint); position: static; }
figure { margin: 1.4rem 0; }
/* On a phone a figure keeps readable letters and scrolls sideways. */
img { width: 46rem; max-width: 100%; min-width: 33rem; height: auto; background: #fff; border-radius: 6px; }
@media print { img { min-width: 0; } }
pre { overflow-x: auto; padding: .8rem; background: var(--soft); border-radius: 6px; font-size: .82rem; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media print { details > * { display: block; } .scroll { overflow: visible; } }
"""


def write_report(
    path: str | Path,
    *,
    title: str,
    evaluations: Evaluation | Mapping[str, Evaluation],
    figures: Mapping[str, Path] | Mapping[str, Mapping[str, Path]],
    training: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    sources: Sequence[str] = (CLOSURE_RL_BIBTEX,),
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
    notes
        Paragraphs that a person wrote, shown with the findings.
    sources
        BibTeX entries of what was used.

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
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f"<p>{escape(note)}</p>" for note in notes]
    for heading, evaluation in headed.items():
        if heading:
            body.append(f"<h2>{escape(heading)}</h2>")
        level = "h3" if heading else "h2"
        body += _evaluation(evaluation, pictures.get(heading, {}), level)
    body += _training(training or {})
    body += _repetition(headed)
    if sources:
        body.append("<h2>Sources</h2>")
        body.append(
            '<p>Paper: <a href="https://arxiv.org/abs/2402.00972">arXiv:2402.00972</a></p>'
            if CLOSURE_RL_BIBTEX in sources
            else ""
        )
        body += [f"<pre>{escape(source)}</pre>" for source in sources]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    return write_atomically(path, page)


def _evaluation(evaluation: Evaluation, figures: Mapping[str, Path], level: str) -> list[str]:
    parts = [f"<{level}>What was learned</{level}>"]
    found = findings(evaluation)
    if not found:
        parts.append("<p>No closure was evaluated: these are classical methods only.</p>")
    for name, sentences in found.items():
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        parts.append(f"<p><strong>{escape(name)}</strong></p><ul>{items}</ul>")
    parts += [f"<{level}>Methods, rivals and costs</{level}>", _table(evaluation)]
    parts += [f'<p class="faint">{escape(line)}</p>' for line in footnotes(evaluation)]
    described = {key: value for key, value in evaluation.description.items() if key != "split"}
    if described:
        parts.append(_words(described))
    known = {name for _, entries in _FIGURES for name, _ in entries}
    extra = tuple((name, name.replace("_", " ").capitalize() + ".") for name in figures if name not in known)
    for section, entries in (*_FIGURES, ("More figures", extra)):
        shown = [(name, caption) for name, caption in entries if name in figures]
        if shown:
            parts.append(f"<{level}>{escape(section)}</{level}>")
            parts += [_figure(Path(figures[name]), caption, evaluation) for name, caption in shown]
    return parts


def _table(evaluation: Evaluation) -> str:
    headings, rows = table_rows(evaluation)
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    lines = []
    for name, cells in rows:
        kind = ' class="learned"' if evaluation.methods[name].learned else ""
        line = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{line}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        "<tbody>" + "\n".join(lines) + "</tbody></table></div>"
    )


def _words(values: Mapping[str, Any]) -> str:
    """A table of names and values in words."""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key).replace("_", " "))}</th><td>{escape(_text(value))}</td></tr>'
        for key, value in values.items()
    )
    return f'<div class="scroll"><table class="words"><tbody>{rows}</tbody></table></div>'


def _figure(path: Path, caption: str, evaluation: Evaluation) -> str:
    kind = _MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot show {path.name} in a page; expected one of {', '.join(_MEDIA_TYPES)}")
    content = base64.b64encode(path.read_bytes()).decode()
    described = f"{caption} {evaluation.problem}, {evaluation.simulations} simulations: " + ", ".join(
        evaluation.methods
    )
    return (
        f'<figure><div class="scroll"><img src="data:{kind};base64,{content}" '
        f'alt="{escape(described, quote=True)}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _training(training: Mapping[str, Any]) -> list[str]:
    parts = []
    rows = list(training.get("metrics") or ())
    if rows:
        parts.append(f"<p>{len(rows)} rows of training metrics; the last:</p>")
        parts.append(_words(plain(rows[-1])))
    parts += [
        _details(f"{key.capitalize()} of the training", training[key])
        for key in ("environment", "configuration")
        if training.get(key)
    ]
    return ["<h2>How it was trained</h2>", *parts] if parts else []


def _repetition(headed: Mapping[str, Evaluation]) -> list[str]:
    parts = ["<h2>How to repeat it</h2>"]
    for heading, evaluation in headed.items():
        label = f" ({heading})" if heading else ""
        command = evaluation.configuration.get("command")
        if command:
            text = command if isinstance(command, str) else " ".join(map(str, command))
            parts.append(f"<pre>{escape(text)}</pre>")
        else:
            parts.append(f"<p>No command was recorded{escape(label)}.</p>")
        parts.append(_details(f"Configuration of the evaluation{label}", evaluation.configuration))
    return parts


def _details(heading: str, value: Any) -> str:
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(heading)}</summary><pre>{escape(text)}</pre></details>"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
