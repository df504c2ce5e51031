"""Results of commands: checked before work, written before they are printed, and none costs another."""

import errno
import io
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from closura.cli import main
from closura.commands import evaluation as evaluate_command
from closura.commands import results as command_results
from closura.commands.closures import named_closure
from closura.commands.options import parse
from closura.commands.report import ReportOptions, kept_figures
from closura.commands.results import Outputs, command_line
from closura.parts import NotAllWritten, Parts, file_name
from closura.reporting.figure import FIGURES
from closura.reporting.report import write_report
from closura.reporting.style import figure_settings, new_figure, save_figure

TINY = ["evaluate", "advection", "--cells", "8", "--ratio", "2", "--simulations", "2", "--steps", "2", "--no-timing"]


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "numbers.json")


class TestBeforeWork:
    @pytest.mark.parametrize(
        "places",
        [
            {"files": {"--json": "a"}, "folders": {"--out": "a"}},
            {"files": {"--json": "a"}, "folders": {"--out": "b/../a"}},
            {"files": {"--json": "a", "--figure": "a"}},
            {"files": {"--json": "a"}, "folders": {"--out": "a/b"}},
            {"files": {"--json": "a/report.html"}, "folders": {"--out": "a"}},
            {"files": {"--json": "a/results.nc"}, "folders": {"--out": "a"}},
            {"files": {"--json": "a/figures/x.json"}, "folders": {"--out": "a"}},
            {"files": {"--json": "s.zarr/x.json"}, "stores": {"--save": "s.zarr"}},
            {"folders": {"--out": "s.zarr/out"}, "stores": {"--save": "s.zarr"}},
            {"folders": {"--out": "link"}, "files": {"--json": "real"}},
            {"stores": {"--save": "s.zarr"}, "inputs": {"--start": "s.zarr"}},
            {"stores": {"--out": "runs"}, "inputs": {"RUN": "runs/a"}},
        ],
    )
    def test_two_results_do_not_take_one_place(self, places: dict, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "link").symlink_to("real")
        with pytest.raises(ValueError, match=r"^--?\w+ .*choose another name$|give one of them another name$"):
            Outputs(**{kind: {k: Path(v) for k, v in paths.items()} for kind, paths in places.items()})
        assert [p.name for p in tmp_path.iterdir()] == ["link"]

    @pytest.mark.parametrize(
        "name", ["run/weights.safetensors", "link", "run/status.json", "run/metrics.jsonl", "s.zarr/x.json", "s.zarr"]
    )
    def test_results_do_not_take_the_place_of_work(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "s.zarr").mkdir()
        (tmp_path / "s.zarr/.zgroup").write_text("{}")
        for file in ("configuration.json", "weights.safetensors", "status.json", "metrics.jsonl"):
            (tmp_path / "run" / file).write_text("work")
        (tmp_path / "link").symlink_to("run/weights.safetensors")
        kind = "folders" if name == "s.zarr" else "files"
        with pytest.raises(ValueError, match=r"^--json .*choose another name$"):
            Outputs(**{kind: {"--json": tmp_path / name}})
        Outputs(files={"--json": tmp_path / "run/table.json"}, folders={"--out": tmp_path / "run"})

    def test_usual_places_are_fine(self, tmp_path: Path) -> None:
        Outputs(
            files={"--json": tmp_path / "out/table.json", "--figure": None},
            folders={"--out": tmp_path / "out"},
            stores={"--save": tmp_path / "s.zarr"},
            inputs={"--start": tmp_path / "t.zarr"},
        )
        Outputs(files={"--json": tmp_path / "out/numbers.json"}, folders={"--out": tmp_path / "out"})
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", ["--json", "--out", "--save"])
    def test_what_cannot_be_written_stops_the_command(self, option: str, tmp_path: Path, capsys, monkeypatch) -> None:
        monkeypatch.setattr(evaluate_command, "evaluate", lambda *_, **__: pytest.fail("work was done"))
        (tmp_path / "file").write_text("x")
        with pytest.raises(SystemExit) as left:
            main([*TINY, option, str(tmp_path / "file/below")])
        assert left.value.code == 2
        assert capsys.readouterr().err.startswith(f"error: {option}: {tmp_path}/file/below cannot be written")
        assert (tmp_path / "file").read_text() == "x"

    def test_what_may_not_be_replaced_stops_the_command(self, tmp_path: Path, capsys, monkeypatch) -> None:
        monkeypatch.setattr(evaluate_command, "evaluate", lambda *_, **__: pytest.fail("work was done"))
        (tmp_path / "mine").mkdir()
        for more in ([], ["--overwrite"]):
            with pytest.raises(SystemExit):
                main([*TINY, "--save", str(tmp_path / "mine"), *more])
            assert "exists" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["--out", ""], ["--out="], [""], ["--seed", ""]])
    def test_an_empty_word_is_a_variable_that_was_not_set(self, words: list[str]) -> None:
        with pytest.raises(ValueError, match="is empty: give a value"):
            parse(ReportOptions, words, prog="closura report", description="")
        assert parse(ReportOptions, ["--title", ""], prog="closura report", description="").title == ""


class TestAfterWork:
    def test_everything_is_written_before_anything_is_printed(self, tmp_path: Path, capsys) -> None:
        seen = []
        outputs = Outputs(files={"--json": tmp_path / "a.json"}, folders={"--out": tmp_path / "out"})

        def publish(out: Path) -> Path:
            out.mkdir()
            return out

        outputs.deliver(
            {"--json": lambda path: path.write_text("1"), "--out": publish},
            lambda: seen.append(sorted(p.name for p in tmp_path.iterdir())),
        )
        assert seen == [["a.json", "out"]]

    def test_one_failure_costs_nothing_else(self, tmp_path: Path) -> None:
        shown = []
        outputs = Outputs(files={"--json": tmp_path / "a.json"}, folders={"--out": tmp_path / "out"})
        with pytest.raises(
            NotAllWritten, match=r"^not all could be written: --json .*a.json \(No space left"
        ) as caught:
            outputs.deliver({"--json": no_space, "--out": lambda out: out.mkdir()}, lambda: shown.append("table"))
        assert shown == ["table"]
        assert (tmp_path / "out").is_dir()
        assert len(caught.value.failures) == 1

    def test_a_figure_that_fails_is_told_at_the_end(self, tmp_path: Path, capsys, monkeypatch) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("latex could\nnot be found <b>")

        for name in ("cost", "improvement", "error_curves", "animation"):
            monkeypatch.setitem(FIGURES._entries, name, replace(FIGURES.find(name), make=broken))
        monkeypatch.setattr(command_results, "write_json", no_space)
        out = tmp_path / "out"
        with pytest.raises(SystemExit) as left:
            main(
                [*TINY, "--json", str(tmp_path / "numbers.json"), "--out", str(out), "--save", str(tmp_path / "s.zarr")]
            )
        assert left.value.code == 4
        said = capsys.readouterr()
        assert "advection" in said.out
        assert f"report: {out / 'report.html'}" in said.out
        assert said.err.startswith("error: not all could be written: --json ")
        assert said.err.count("\n") == 1
        for name in ("error_curves", "improvement", "animation"):
            assert f"{name} (RuntimeError: latex could not be found <b>)" in said.err
        assert {p.name for p in out.iterdir()} == {
            *("table.json", "table.csv", "breakdown.csv", "configuration.toml", "results.nc", "report.html", "figures"),
        }
        assert "fields.png" in {p.name for p in (out / "figures").iterdir()}
        assert "error_curves.png" not in {p.name for p in (out / "figures").iterdir()}
        assert "improvement: RuntimeError: latex could not be found &lt;b&gt;" in (out / "report.html").read_text()
        assert (tmp_path / "s.zarr/.zattrs").exists()

    @pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
    def test_a_terminal_of_any_encoding_gets_its_table(self, encoding: str, tmp_path: Path, monkeypatch) -> None:
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        main([*TINY, "--json", str(tmp_path / "numbers.json")])
        assert json.loads((tmp_path / "numbers.json").read_text())["problem"] == "advection"
        assert "population standard deviation" in " ".join(raw.getvalue().decode(encoding).split())

    def test_names_of_files_that_are_no_text_cost_no_results(self, tmp_path: Path) -> None:
        assert (
            command_line("evaluate", ["--json", os.fsdecode(b"\xff.json")]) == r"closura evaluate --json '\udcff.json'"
        )
        main([*TINY, "--json", os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")])
        assert json.loads(next(tmp_path.iterdir()).read_text())["problem"] == "advection"

    def test_parts_go_on(self, tmp_path: Path) -> None:
        parts = Parts()
        parts.write("a", tmp_path / "a", lambda path: 1 / 0)
        parts.write("b", tmp_path / "b", lambda path: path.write_text("b"))
        parts.write("c", tmp_path / "c", lambda path: None)  # nothing to write
        assert parts.include(lambda: {}["figure"]) == {}
        assert list(parts.written) == ["b"]
        assert list(parts.failures) == ["a", "figures"]
        with pytest.raises(NotAllWritten, match=r"a \(ZeroDivisionError: division by zero\); figures \(KeyError"):
            parts.close()


class TestFigures:
    def test_settings_of_the_user_change_nothing(self, tmp_path: Path) -> None:
        def draw(name: str) -> bytes:
            with figure_settings():
                figure = new_figure(3.0, 2.0)
                axes = figure.subplots()
                axes.plot([1, 2, 3], [1.0, 10.0, 100.0], label="a $b$ $\\frac{ [x]_")
                axes.set_yscale("log")
                axes.legend()
                axes.set_title("100 % _ ^ $")
                save_figure(figure, tmp_path / name)
            return (tmp_path / name).read_bytes()

        usual = draw("usual.png")
        theirs = {
            "text.usetex": True, "font.family": ["No Such Font"], "savefig.format": "pdf", "figure.dpi": 30.0,
            "savefig.dpi": 20.0, "savefig.bbox": "tight", "axes.facecolor": "black", "lines.linewidth": 9.0,
            "axes.prop_cycle": matplotlib.cycler(color=["red"]), "axes.formatter.use_mathtext": True,
        }  # fmt: skip
        with matplotlib.rc_context(theirs):
            assert draw("theirs.png") == usual
            assert matplotlib.rcParams["text.usetex"]
        assert not list(tmp_path.glob(".*"))

    def test_formats_follow_the_ending(self, tmp_path: Path) -> None:
        for name, start in (("a.pdf", b"%PDF"), ("a.svg", b"<?xml"), ("a.png", b"\x89PNG"), ("a.PNG", b"\x89PNG")):
            save_figure(new_figure(1.0, 1.0), tmp_path / "new" / name)
            assert (tmp_path / "new" / name).read_bytes().startswith(start)
        save_figure(new_figure(1.0, 1.0), tmp_path / "bare")
        assert (tmp_path / "bare.png").exists()
        with pytest.raises(ValueError, match="xyz"):
            save_figure(new_figure(1.0, 1.0), tmp_path / "a.xyz")
        assert not (tmp_path / "a.xyz").exists()

    @pytest.mark.parametrize(
        "name", ["../../x", "/etc/x", "a/b", "..", ".", "", "a\\b", "a\nb", "n" * 300, "C:x", "\x1b"]
    )
    def test_names_leave_no_folder(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / f"training-{file_name(name)}.png"
        assert path.resolve().parent == tmp_path.resolve()
        path.touch()
        assert file_name(name) != name
        assert len({file_name(other) for other in (name, f"{name}x", f"{name}/", name.replace("/", "_") + "y")}) == 4

    def test_usual_names_stay(self) -> None:
        for name in ("compact", "my run [2]", "Δ", "a.b-c_d", "x=1"):
            assert file_name(name) == name

    def test_links_in_a_received_folder_are_not_followed(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret.png"
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(secret)
        folder = tmp_path / "figures"
        folder.mkdir()
        (folder / "cost.png").write_bytes(secret.read_bytes())
        (folder / "broken.png").write_text("no picture")
        (folder / "fields.png").symlink_to(secret)
        (folder / "plan.svg").symlink_to("/etc/hostname")
        (folder / "dir.png").mkdir()
        parts = Parts()
        assert kept_figures(folder, parts) == {"cost": folder / "cost.png"}
        assert [Path(name).name for name in parts.failures] == ["broken.png"]
        (tmp_path / "link").symlink_to(folder)
        assert kept_figures(tmp_path / "link", Parts()) == {}
        assert kept_figures(tmp_path / "none", Parts()) == {}

    def test_a_page_holds_no_control_characters(self, tmp_path: Path) -> None:
        path = write_report(tmp_path / "r.html", title="a\x1bb", comparisons={}, figures={}, notes=["c\x00\u202ed"])
        text = path.read_text()
        assert not {*"\x1b\x00\u202e"} & {*text}


class TestNames:
    @pytest.mark.parametrize("text", ["", "NAME=", "=path", "="])
    def test_both_parts_must_be_there(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"expected PATH or NAME=PATH; got"):
            named_closure(text)

    @pytest.mark.parametrize("name", ["a/../../x", "a\nb", "\x1b[31m", " ", "a\\b", "\u202e", "n" * 256, "\udcff"])
    def test_names_stand_in_tables_and_files(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"no slashes and no control characters; got .*NAME=PATH$") as caught:
            named_closure(f"{name}=burgers-1d")
        assert str(caught.value).isprintable()

    def test_usual_names_are_taken(self, tmp_path: Path) -> None:
        (tmp_path / "a=b").mkdir()
        assert named_closure(str(tmp_path / "a=b")) == ("a=b", tmp_path / "a=b")
        assert named_closure("my [x] Δ=some/where.npz") == ("my [x] Δ", Path("some/where.npz"))
        assert named_closure("x=" + "n" * 5000)[0] == "x"


def test_suggested_commands_can_be_pasted(tmp_path: Path, monkeypatch, capsys) -> None:
    from types import SimpleNamespace

    from closura.commands import training

    result = SimpleNamespace(validation="1", uncorrected="2", updates=1, transitions=1.0, seconds=1.0, verdict="")
    monkeypatch.setattr(training, "train", lambda *_, **__: result)
    folder = tmp_path / "my run's [1]"
    training.run_train(["advection", "--run", str(folder)])
    said = capsys.readouterr().out
    command = said.partition("evaluate it on held-out data: ")[2].splitlines()[0]
    assert shlex.split(command) == ["closura", "evaluate", "advection", "--closure", str(folder)]
