"""Tables and messages in terminals of any width, encoding and kind; text of others controls no terminal."""

import io
import math
import sys
from contextlib import suppress

import numpy as np
import pytest
from made_results import method, results
from rich.console import Console

from closura.cli import main
from closura.commands.console import _Console, fail, work_bar
from closura.commands.results import print_results
from closura.core import MethodResult, Results, Role
from closura.io.streams import LastingStream, printable
from closura.reporting.benchmark.tables import number
from closura.reporting.formatting import bounded, short, times
from closura.reporting.table import Table, print_table, print_tables

HEADINGS = ["method", "relative error (%) at step 50", "median", "ms per step", "compared with"]
ROWS = [
    ("CGS", ["1.0e+22 ± 2.0e+21", "1.00e-20", "0.0123", "–"]),
    ("a closure with a long name [bold]", ["1.234e-03 (0.802)", "∞ (5.00)", "nan", "weno5-js"]),
]


def printed(width: int, rows: object = ROWS) -> str:
    file = io.StringIO()
    console = Console(width=width, file=file)
    print_table(Table("Errors", HEADINGS, rows, "Words beneath.", left=HEADINGS[4:]), console)
    return file.getvalue().replace("\u00a0", " ")


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 200])
def test_no_value_is_lost_or_cut_at_any_width(width: int) -> None:
    lines = printed(width).splitlines()
    for name, cells in ROWS:
        assert any(name in line for line in lines), name
        for cell in cells:
            # Where there is just enough room, a bracket may go to the next line.
            assert all(any(part in line for line in lines) for part in cell.split(" (")), cell
    for word in " ".join(HEADINGS[1:]).split():
        assert any(word in line for line in lines)
    if width >= 60:
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", range(60, 121))
def test_columns_with_long_headings_fit(width: int) -> None:
    """At 80 columns the last of these lost its end: headings that can break shrank beneath what their words need."""
    headings = ["method", "mass error (%)", "diverged", "ever worse than base", "ms per step", "ms per simulation"]
    file = io.StringIO()
    rows = [("spectral", ["6.6e-06 ± 0", "0", "0 of 1", "–", "–", "177"])]
    print_table(Table("", [*headings, "parameters"], rows), Console(width=width, file=file))
    lines = file.getvalue().replace("\u00a0", " ").splitlines()
    assert max(map(len, lines)) <= width
    for text in (*rows[0][1], "parameters", "simulation", "diverged"):
        assert any(text in line for line in lines), text


def test_a_narrow_terminal_gets_a_line_per_value() -> None:
    text = printed(20)
    assert "  relative error (%) at step 50: 1.0e+22 ± 2.0e+21\n" in text
    assert "  compared with: weno5-js\n" in text


def test_a_terminal_without_width_has_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert _Console().width == 80


def test_names_of_any_length_are_whole() -> None:
    name = "n" * 300
    assert name in printed(80, [(name, ["1", "2", "3", "4"])])


@pytest.mark.parametrize("value", [1e20, -1e20, 1e308, 1e-20, 123456.789, math.inf, -math.inf, math.nan, 0.0, None])
def test_numbers_have_a_bounded_width(value: float | None) -> None:
    texts = [short(value), *(bounded(value, form) for form in (".1f", "+.1f", ".4f", ",", ".3e"))]
    assert max(map(len, texts)) <= 12
    assert ("–" in texts) == (value is None or math.isnan(value))
    assert ("∞" in texts) == (value == math.inf)
    if value is not None:
        assert len(number(value)) <= 12


def test_usual_numbers_stay_as_they_were() -> None:
    assert [short(x) for x in (0.0, 1.0, 12.345, 99999.0, 1e5, 1e-4)] == [
        "0",
        "1.00",
        "12.3",
        "99,999",
        "1.0e+05",
        "0.000100",
    ]
    assert [bounded(x, "+.1f") for x in (1.0, -31.25, 63.3)] == ["+1.0", "-31.2", "+63.3"]


@pytest.fixture
def evaluation() -> Results:
    def grown(role: Role, error: float) -> MethodResult:
        errors = np.full((3, 5), error) * np.arange(5)
        return method(role, errors, conserved=errors, parameters=12 if role is Role.CLOSURE else None)

    found = {
        "CGS": grown(Role.UNCORRECTED, 0.1),
        "ACGS": grown(Role.BASELINE, 1e20),
        "compact": grown(Role.CLOSURE, 1e-20),
    }
    return results(
        found, problem="advection", description={"split": "held out"}, groups=("one [x]", "two", "two"),
    )  # fmt: skip


@pytest.mark.parametrize("width", [20, 80, 300])
def test_all_columns_of_an_evaluation_are_readable(evaluation: Results, width: int) -> None:
    file = io.StringIO()
    print_tables(evaluation, console=Console(width=width, file=file))
    text = file.getvalue().replace("\u00a0", " ")
    for cell in ("4.0e+22", "0.100", "12", "one [x]", "n = 3"):
        assert cell in text, cell
    assert "…" not in text


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_tables_can_be_written_in_any_encoding(encoding: str, monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", LastingStream(io.TextIOWrapper(raw, encoding=encoding)))
    print_table(Table("≥ 64²", HEADINGS, ROWS), _Console(width=100))
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert "2.0e+21" in text
    assert "weno5-js" in text


@pytest.mark.parametrize("variable", [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_plain_terminals_get_plain_text(variable: tuple[str, str], monkeypatch) -> None:
    monkeypatch.setenv(*variable)
    file = io.StringIO()
    print_table(Table("", HEADINGS, ROWS), Console(width=80, file=file), bold=["CGS"])
    assert "\x1b" not in file.getvalue()


HOSTILE = ["\x1b[31mred", "a\rb", "line\nbreak", "\x9b2J", "right\u202eto left", "\u2028", "\x00", "undecodable \udcff"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_controls_no_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printable(text)
    assert shown.isprintable() or shown == text
    assert "\\" in shown
    file = io.StringIO()
    console = _Console(file=file, markup=False, width=200)
    console.print(text, soft_wrap=True)
    print_table(Table(text, ["name", text], [(text, [text])], text), console)
    with console.status(f"simulating {text}") as status:
        status.update(text)
    with pytest.raises(SystemExit):
        fail(text)
    for written in (file.getvalue(), capsys.readouterr().err.removesuffix("\n")):
        assert not {*"\x1b\r\x9b\u202e\u2028\x00\udcff"} & {*written}


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail("first\nsecond")
    assert capsys.readouterr().err == "error: first\\nsecond\n"


@pytest.mark.parametrize("name", ["[bold]x", "a[/b]", ":smile:", "[link=x]", "\\[x"])
def test_names_are_no_markup(name: str) -> None:
    file = io.StringIO()
    console = _Console(file=file, markup=False, highlight=False, emoji=False, width=100)
    with console.status(f"simulating {name}") as status:  # markup that closes nothing would be an error
        status.update(f"simulating {name}")
    console.print(f"closure {name}")
    print_table(Table("", ["method", "x"], [(name, ["1"])]), console)
    assert file.getvalue().count(name) == 2
    with work_bar("running", "steps") as report:
        report(name, 1, 1)


def test_help_reaches_what_reads_its_first_line(monkeypatch) -> None:
    class Head(io.StringIO):
        """``| head -1``: gone after the first line."""

        def write(self, text: str) -> int:
            if "\n" in self.getvalue():
                raise BrokenPipeError
            return super().write(text)

    for arguments in (["--help"], ["evaluate", "--help"], ["train", "--help"], ["data"], ["nonsense"]):
        head = Head()
        monkeypatch.setattr(sys, "stdout", head)
        with suppress(SystemExit):
            main(arguments)
        if arguments != ["nonsense"]:
            assert head.getvalue()
        monkeypatch.undo()


def test_nothing_is_printed_where_there_is_no_output(monkeypatch) -> None:
    """``>&-``: Python has no standard output then."""
    monkeypatch.setattr(sys, "stdout", None)
    main(["--help"])
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "--help"])
    assert not left.value.code


def test_a_comparison_says_its_verdict(evaluation: Results, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(evaluation)
    assert "compact: Against " in capsys.readouterr().out


def test_equal_costs_are_no_multiple() -> None:
    assert times(0.1, 0.1, "CGS") == times(1.0, 1.004, "CGS") == "as much as CGS"
    assert times(3.9, 0.1, "CGS") == "39.0 times as much as CGS"
    assert times(0.1, 0.15, "CGS") == "1.50 times less than CGS"
