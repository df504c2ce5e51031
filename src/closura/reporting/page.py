"""Pieces of a page: no network, no script, readable on a phone."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from closura.io.streams import printable
from closura.plain import plain
from closura.reporting.picture import data_uri

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #5c6670; --line: #d5dae0;
  --soft: #f4f6f8; --strong: #e8f1fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --faint: #9aa5b0;
  --line: #363c43; --soft: #1d2125; --strong: #1b2c3d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
p, li { max-width: 50rem; }
nav ul { padding-left: 1.2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 1.6rem; } small, .faint, figcaption { color: var(--faint); font-size: .88rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tr.learned th, tr.learned td { background: var(--strong); font-weight: 600; }
table.words { width: 100%; table-layout: fixed; max-width: 50rem; }
table.words th, table.words td { text-align: left; white-space: normal; font-weight: normal; }
table.words th { color: var(--faint); position: static; width: 34%; }
figure { margin: 1.4rem 0; }
/* On a phone a figure keeps readable letters and scrolls sideways. */
img { width: 46rem; max-width: 100%; min-width: 33rem; height: auto; background: #fff; border-radius: 6px; }
@media print { img { min-width: 0; } }
pre { overflow-x: auto; padding: .8rem; background: var(--soft); border-radius: 6px; font-size: .82rem; }
pre.command { white-space: pre-wrap; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media print { details > * { display: block; } .scroll { overflow: visible; } }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(printable(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + printable("\n".join(body), keep="\n\t")
        + "\n</body>\n</html>\n"
    )


def table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, learned: Sequence[str] = ()) -> str:
    """A table whose first column stays in view while the rest scrolls; rows of ``learned`` stand out."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    lines = []
    for name, cells in rows:
        kind = ' class="learned"' if name in learned else ""
        line = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{line}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        "<tbody>" + "\n".join(lines) + "</tbody></table></div>"
    )


def words(values: Mapping[str, Any]) -> str:
    """A table of names and values in words."""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key).replace("_", " "))}</th><td>{escape(_text(value))}</td></tr>'
        for key, value in values.items()
    )
    return f'<table class="words"><tbody>{rows}</tbody></table>'


def figure(path: Path, caption: str, described: str) -> str:
    """A picture inside the page.

    Raises
    ------
    ValueError
        If a page cannot show the file.
    FileNotFoundError
        If it is missing.
    """
    return (
        f'<figure><div class="scroll"><img src="{data_uri(path)}" '
        f'alt="{escape(f"{caption} {described}", quote=True)}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def details(heading: str, value: Any) -> str:
    """Settings, folded away."""
    text = value if isinstance(value, str) else json.dumps(plain(value), indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(heading)}</summary><pre>{escape(text)}</pre></details>"


def folded(heading: str, html: str) -> str:
    """Anything, folded away."""
    return f"<details><summary>{escape(heading)}</summary>{html}</details>"


def failures(reasons: Mapping[str, str]) -> list[str]:
    """What could not be written or drawn, by name with the reason; nothing where all went well."""
    if not reasons:
        return []
    items = "".join(f"<li>{escape(name)}: {escape(said)}</li>" for name, said in reasons.items())
    return [f"<p><strong>Not all of this evaluation could be written:</strong></p><ul>{items}</ul>"]


def command(text: str) -> str:
    """A command to copy."""
    return f'<pre class="command">{escape(text)}</pre>'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
