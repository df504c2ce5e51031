"""Registries: entries by name, file and module, and what is said of those that are not there."""

from pathlib import Path

import pytest

from closura.core import METRICS, Metric, Registry
from closura.core.registry import home_of, load_file, source_of
from closura.reporting.figure import FIGURES, FigureKind

ONE = """
from closura.core import metric

@metric("peak_error", title="error of the largest value", unit="m")
def peak(field, reference):
    return abs(field.max() - reference.max())
"""
TWO = (
    ONE
    + """
@metric("spread_error")
def spread(field, reference):
    return abs(field.std() - reference.std())
"""
)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (METRICS, FIGURES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_names_of_the_process_and_the_package() -> None:
    mine = METRICS.add("mine", Metric("mine", lambda field, reference: 0.0))
    assert METRICS.find("mine") is mine
    assert "mine" in METRICS
    assert "mine" in METRICS.names()
    assert METRICS.loaded()["mine"] is mine
    cost = FIGURES.find("cost")
    assert (type(cost), cost.name) == (FigureKind, "cost")
    assert FIGURES.find("closura.reporting.figures.cost:cost_scatter") is cost
    assert list(FIGURES) == list(FIGURES.all())


def test_a_file_with_one_entry(tmp_path: Path) -> None:
    file = write(tmp_path / "one.py", ONE)
    found = METRICS.find(file)
    assert (found.name, found.title, found.unit) == ("peak_error", "error of the largest value", "m")
    # By the object's name and the entry's; the same object each time, and known by name from now on.
    for text in (f"{file}:peak", f"{file}:peak_error", "peak_error"):
        assert METRICS.find(text) is found
    source = source_of(found)
    assert source is not None
    assert source.path == file
    assert source_of(FIGURES.find("cost")) is None
    assert home_of(FIGURES.find("cost")) == "closura.reporting.figures.cost"


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "one.py", ONE)
    first = METRICS.find(file)
    assert load_file(file) is load_file(file)
    write(tmp_path / "one.py", ONE.replace('unit="m"', 'unit="km"'))
    assert (first.unit, METRICS.find(file).unit) == ("m", "km")


def test_what_a_file_imports_is_not_its_own(tmp_path: Path) -> None:
    write(tmp_path / "neighbour.py", ONE)
    file = write(
        tmp_path / "two.py",
        TWO.replace("peak", "other").replace("from closura", "from neighbour import peak\nfrom closura"),
    )
    assert METRICS.find(f"{file}:peak").name == "peak_error"
    with pytest.raises(ValueError, match="choose one of other_error, spread_error as"):
        METRICS.find(file)
    alone = write(tmp_path / "three.py", "from neighbour import peak\n" + ONE.replace("peak", "third"))
    assert METRICS.find(alone).name == "third_error"


def test_a_file_with_several_entries_or_none(tmp_path: Path) -> None:
    several = write(tmp_path / "several.py", TWO)
    with pytest.raises(ValueError, match=r"several\.py defines several metrics: choose one of peak_error, "):
        METRICS.find(several)
    assert METRICS.find(f"{several}:spread").name == "spread_error"
    with pytest.raises(ValueError, match=r"has no metric 'typo': it has peak, spread"):
        METRICS.find(f"{several}:typo")
    none = write(tmp_path / "none.py", "x = 1\n")
    with pytest.raises(ValueError, match=r"defines no metric: decorate one with @closura\.metric"):
        METRICS.find(none)
    with pytest.raises(ValueError, match="has no metric 'x': it has none"):
        METRICS.find(f"{none}:x")
    with pytest.raises(ValueError, match="defines no figure"):
        FIGURES.find(several)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.py"):
        METRICS.find(str(tmp_path / "absent.py"))


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "x.py", ONE.replace("peak", folder))
    assert [METRICS.find(str(tmp_path / folder / "x.py")).name for folder in ("a", "b")] == ["a_error", "b_error"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = 1 / 0\n", r"cannot import .*broken\.py, line 2: ZeroDivisionError"),
        ("x = 1\n\nx = = 2\n", r"cannot import .*broken\.py: SyntaxError.*line 3"),
        ("import no_such_module\n", r"broken\.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        (ONE.replace('"peak_error"', '"peak error"'), r"broken\.py, line 4: ValueError: .*got 'peak error'"),
    ],
)
def test_a_broken_file_names_the_line(text: str, said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "broken.py", text)
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            METRICS.find(file)
    write(tmp_path / "broken.py", ONE)
    assert METRICS.find(file).name == "peak_error"


def test_unknown_names_are_told_with_what_is_near() -> None:
    with pytest.raises(ValueError, match=r"unknown figure 'cots', did you mean cost\? valid: error_curves, .*or FILE"):
        FIGURES.find("cots")
    with pytest.raises(ValueError, match=r"unknown figure 'nothing'; valid: "):
        FIGURES.find("nothing")
    with pytest.raises(ValueError, match=r"^unknown thing 'x'; valid: or FILE\.py:NAME$"):
        Registry("thing", int).find("x")
    with pytest.raises(ValueError, match=r"figure 'no\.such:thing': cannot import no\.such"):
        FIGURES.find("no.such:thing")
    with pytest.raises(ValueError, match=r"figures\.cost has no figure 'typo': it has cost_scatter"):
        FIGURES.find("closura.reporting.figures.cost:typo")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a:b", "a.py", "a=b", "a\nb", "a\\b"])
def test_names_are_no_paths_and_no_options(name: str) -> None:
    with pytest.raises(ValueError, match="a thing needs a name without"):
        Registry("thing", int).add(name, 1)
