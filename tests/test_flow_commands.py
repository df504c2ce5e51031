"""Commands that evaluate and run what was fitted to flows: arguments, files, one-line errors."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_flow_evaluation import closure_run, facts, model_run, write_flow

from closura.cli import main
from closura.commands import demo as demo_command
from closura.commands.fitting import parse_fit
from closura.commands.flow_fits import ClosureOptions, FilterOptions, run_evaluate_closure, run_evaluate_model
from closura.commands.flow_rollouts import run_rollout
from closura.commands.options import parse
from closura.offline.numbers import study_of
from closura.runs.fitting.configuration import ModelFitConfiguration
from closura.trajectories import open_flow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands")
    data = write_flow(root / "flow.zarr")
    return {
        "data": str(data.path), "flow": data, "closure": str(closure_run(root / "toy", data)),
        "model": str(model_run(root / "rom", data)),
    }  # fmt: skip


def fails(capsys, arguments):
    """The one line that a command leaves with."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_several_after_one_flag_and_repeated_flags():
    words = ["--closure", "A", "B", "--data", "D", "--closure", "C", "--closure=E"]
    options = parse(ClosureOptions, words, prog="closura evaluate", description="")
    assert (options.closure, options.data) == (("A", "B", "C", "E"), Path("D"))


def test_evaluate_closures(world, tmp_path, capsys):
    main(
        ["evaluate", "kolmogorov-closure", "--closure", world["closure"], f"again={world['closure']}", "--data",
         world["data"], "--members", "5", "--frames", "6", "--json", str(tmp_path / "c.json")]
    )  # fmt: skip
    found = json.loads((tmp_path / "c.json").read_text())["methods"]
    assert list(found) == ["none", "persistence", "climatology", "toy", "again"]
    assert found["toy"]["crps"] == found["again"]["crps"]
    assert "Accuracy of the full field" in capsys.readouterr().out


def test_leaks_need_a_word(world, tmp_path, capsys):
    words = ["evaluate", "kolmogorov-closure", "--closure", world["closure"], "--data", world["data"], "--trajectories"]
    assert "allow-leak" in fails(capsys, [*words, "2"])
    result = run_evaluate_closure([*words[2:], "2", "--allow-leak", "--members", "4", "--frames", "3"])
    assert study_of(result)["notes"] == ["LEAK: trajectories 2 were seen in training or validation."]


def test_a_bare_file_needs_a_filter(world, tmp_path, capsys):
    own = {key: value for key, value in facts(world["flow"]).items() if key == "points"}
    bare = str(closure_run(tmp_path / "bare", world["flow"], metadata=own) / "weights.safetensors")
    words = ["--closure", f"bare={bare}", "--data", world["data"], "--members", "4", "--frames", "3"]
    assert "--filter.kind" in fails(capsys, ["evaluate", "kolmogorov-closure", *words])
    result = run_evaluate_closure([*words, "--filter.cutoff", "3"])
    study = study_of(result)
    assert study["filter"] == {"filter": "spectral", "cutoff": 3.0}
    assert len(study["trajectories"]) == 5
    assert "does not say which simulations it has seen" in study["notes"][0]


def test_filter_options():
    assert FilterOptions().filter() is None
    assert FilterOptions("box", None, 1.5).filter().plain() == {"filter": "box", "width": 1.5}
    with pytest.raises(ValueError, match=r"takes --filter\.cutoff"):
        FilterOptions("spectral", None, 1.0).filter()
    with pytest.raises(ValueError, match=r"needs --filter\.kind"):
        FilterOptions(None, None, 1.0).filter()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "kolmogorov-closure"], "which closures?"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE"], "which data?"),
        (["evaluate", "kolmogorov-closure", "--closure", "nowhere", "--data", "DATA"], "no run folder"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "--data", "nowhere"], "no data set at nowhere"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "CLOSURE", "--data", "DATA"], "two are called toy"),
        (["evaluate", "kolmogorov-closure", "--closure", "none=CLOSURE", "--data", "DATA"], "row that every table has"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "--data", "DATA", "--members", "1"], "2 members"),
        (["evaluate", "kolmogorov-closure", "--closure", "MODEL", "--data", "DATA"], "expected a closura recon"),
        (["evaluate", "kolmogorov-rom"], "which models?"),
        (["evaluate", "kolmogorov-rom", "--rom", "MODEL", "--data", "DATA", "--trajectories", "0"], "was seen"),
        (["evaluate", "kolmogorov-rom", "--rom", "MODEL", "--data", "DATA", "--starts", "0"], "starts must be"),
        (["rollout", "CLOSURE", "--start", "DATA", "--out", "x.zarr"], "expected a closura reduced model"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "x.zarr", "--first-frame", "59"], "--first-frame"),
        (["evaluate", "kolmogorov-rom", "--rom", "MODEL", "--data", "DATA", "--steps", "50"], "give --slice 50"),
        (["evaluate", "kolmogorov-rom", "--rom", "MODEL", "--data", "DATA", "--json", "DATA/.zattrs/m"], "is no f"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "--data", "DATA", "--json", "DATA"], "is a folder"),
        (
            ["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "--data", "DATA", "--out", "DATA/.zattrs"],
            "is no folder",
        ),
        (["data", "filter", "DATA", "--out", "x.zarr", "--figure", "spectra.abc"], "ends in one of"),
        (["data", "filter", "DATA", "--out", "x.zarr", "--figure", "DATA/.zattrs/s.png"], "is no folder"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "DATA"], "would replace what is read, --start"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "DATA", "--overwrite"], "would replace what is read"),
        (["evaluate", "kolmogorov-closure", "--closure", "CLOSURE", "--data", "DATA", "--frames", "0"], "be positive"),
        (["evaluate", "kolmogorov-closure", "--member", "3"], "unknown option --member; did you mean --members? all"),
        (["evaluate", "kolmogorov-closure", "--scoring", "mine"], "--scoring: unknown 'mine'; valid: fair, published"),
        (["evaluate", "kolmogorov-rom", "--starts", "x"], "--starts: expected a whole number; got 'x'"),
        (["rollout"], "PATH, --start, --out must be given; all options: closura rollout --help"),
        (["data", "generate", "burgers"], "error: unknown 'burgers'; valid: kolmogorov"),
        (["data", "generate", "kolmogorov"], "--out must be given"),
        (["data", "generate", "kolmogorov", "--out", "x.zarr", "--integrator", "ab2"], "unknown 'ab2'; valid: rk4, eu"),
        (["data", "filter", "DATA", "--out", "x.zarr", "--width", "x"], "--width: expected a number; got 'x'"),
        (["data", "show", "DATA", "--all"], "unknown option --all; all options: closura data show --help"),
        (["demo", "kolmogorov", "--closures", "gan"], "--closures: unknown 'gan'; valid: gp, conv, vae, flow, diff"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "x", "--trajectory", "1", "--trajectories", "2"], "one"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(world, capsys, words, message):
    named = {"CLOSURE": world["closure"], "MODEL": world["model"], "DATA": world["data"]}
    filled = [named.get(w, w.replace("=CLOSURE", f"={world['closure']}")) for w in words]
    filled = [w.replace("DATA/", f"{world['data']}/") for w in filled]
    assert message in fails(capsys, filled)


def test_boxes_without_frames_are_one_line_too(monkeypatch):
    """Where the terminal has no other characters, boxes are drawn of spaces and hyphens."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    for words, message in (
        (["--scoring", "mine"], r"--scoring: unknown 'mine'; valid: fair, published"),
        (["--members", "x"], "--members: expected a whole number; got 'x'"),
        (["--member", "3"], "unknown option --member; did you mean --members?"),
    ):
        with pytest.raises(ValueError, match=message):
            run_evaluate_closure(words)
    with pytest.raises(ValueError, match="PATH, --start, --out must be given"):
        run_rollout([])


def test_evaluate_models(world, tmp_path):
    result = run_evaluate_model(
        ["--rom", world["model"], "--closure", world["closure"], "--data", world["data"], "--steps", "20", "--members",
         "4", "--starts", "2", "--slice", "10", "--json", str(tmp_path / "m.json")]
    )  # fmt: skip
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["lyapunov_exponent"] == 0.068  # the default at Reynolds number 34
    assert found["closure"] == "toy"
    assert [start["trajectory"] for start in found["starts"]] == [4, 4]
    # The climatology was found in the training data.
    assert result.methods == ("persistence", "climatology", "rom", "truth")


def test_rollout_command(world, tmp_path, capsys):
    out = tmp_path / "r.zarr"
    main(
        ["rollout", world["model"], "--start", world["data"], "--trajectory", "4", "--steps", "5", "--members", "2",
         "--closure", world["closure"], "--out", str(out)]
    )  # fmt: skip
    data = open_flow(out)
    assert (data.trajectories, data.frames) == (2, 5)
    assert np.isfinite(data.read(1)).all()
    assert "1 x 2 members of 5 steps (t = 1), closed" in capsys.readouterr().out


def test_lost_members_are_said_at_the_end(world, tmp_path, capsys):
    wild = model_run(tmp_path / "wild", world["flow"], growth=1e6)
    run_rollout(
        [str(wild), "--start", world["data"], "--steps", "9", "--members", "2", "--out", str(tmp_path / "w.zarr")]
    )
    assert "2 of 2 members are not finite, from frame" in capsys.readouterr().out


# The demo, with commands that leave what the real ones leave


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Runs the demo in one folder; gives the results that were made, with what was added to their arguments."""
    out, made = tmp_path / "demo", []

    def fake(words):
        fit, evaluation = words[0] == "train", words[0] == "evaluate"
        target = Path(words[words.index("--run" if fit else "--out") + 1])
        made.append(" ".join([target.name, *({"--overwrite", "--resume"} & set(words))]))
        if fit:
            target.mkdir(exist_ok=True, parents=True)
            (target / "configuration.json").write_text("{}")
            (target / "status.json").write_text('{"state": "finished"}')
        elif evaluation:
            Path(words[words.index("--json") + 1]).write_text("{}")
            target.mkdir(exist_ok=True)
            (target / "report.html").write_text("report")
        else:
            if "--overwrite" in words:
                shutil.rmtree(target)
            write_flow(target, seeds=(0,))

    monkeypatch.setattr(demo_command, "run_command", fake)

    def run(*words):
        made.clear()
        demo_command.run_demo(["kolmogorov", "--out", str(out), *words])
        return list(made)

    run.out = out
    return run


GP_ONLY = ["flow.zarr", "filtered.zarr", "gp", "closures", "rom", "models", "ensemble.zarr"]


def test_the_demo_makes_everything_once(demo):
    assert demo("--closures", "gp") == GP_ONLY
    assert demo("--closures", "gp") == []
    entries = json.loads((demo.out / "steps.json").read_text())
    assert {entry["state"] for entry in entries.values()} == {"finished"}
    assert entries["gp"]["command"].startswith("closura train kolmogorov-closure --closure gp --data flow.zarr")


def test_the_demo_judges_closures_that_are_added(demo):
    demo("--closures", "gp")
    # The convolutional closure closes the runs from now on: models and ensemble change too.
    assert demo("--closures", "gp", "conv") == ["conv", "closures", "models", "ensemble.zarr --overwrite"]
    assert demo("--closures", "gp", "conv") == []


def test_the_demo_refuses_fits_and_data_of_another_scale(demo):
    demo("--closures", "gp", "--scale", "tiny")
    before = (demo.out / "steps.json").read_text()
    with pytest.raises(ValueError, match=r"flow\.zarr was made by another command.*--overwrite"):
        demo("--closures", "gp", "--scale", "quick")
    assert (demo.out / "steps.json").read_text() == before
    replaced = demo("--closures", "gp", "--scale", "quick", "--overwrite")
    assert replaced == [name if name in ("closures", "models") else f"{name} --overwrite" for name in GP_ONLY]


def test_the_demo_goes_on_after_an_interruption(demo, monkeypatch):
    whole = demo_command.run_command

    def interrupted(words):
        whole(words)
        if words[1] == "kolmogorov-rom":
            (demo.out / "rom" / "status.json").write_text('{"state": "interrupted"}')
            raise KeyboardInterrupt

    monkeypatch.setattr(demo_command, "run_command", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo("--closures", "gp")
    monkeypatch.setattr(demo_command, "run_command", whole)
    # The validation's numbers without its report are no result.
    (demo.out / "closures" / "report.html").unlink()
    assert demo("--closures", "gp") == ["closures", "rom --resume", "models", "ensemble.zarr"]


def test_an_interrupted_overwriting_demo_goes_on(demo, monkeypatch):
    demo("--closures", "gp", "--scale", "tiny")
    whole = demo_command.run_command
    fails = lambda words: 1 / 0 if words[1] == "kolmogorov-closure" else whole(words)
    monkeypatch.setattr(demo_command, "run_command", fails)
    with pytest.raises(ZeroDivisionError):
        demo("--closures", "gp", "--scale", "quick", "--overwrite")
    monkeypatch.setattr(demo_command, "run_command", whole)
    expected = ["gp --overwrite", "closures", "rom --overwrite", "models", "ensemble.zarr --overwrite"]
    assert demo("--closures", "gp", "--scale", "quick") == expected


def test_the_demo_leaves_what_it_did_not_make(demo):
    demo.out.mkdir()
    write_flow(demo.out / "flow.zarr")
    with pytest.raises(ValueError, match="made by something else"):
        demo()
    (demo.out / "steps.json").write_text("[1")
    with pytest.raises(ValueError, match="is damaged"):
        demo()


def test_train_model_options(world):
    options, configuration = parse_fit(
        ModelFitConfiguration,
        [
            "--data",
            world["data"],
            "--preset",
            "quick",
            "--split.held-out",
            "4",
            "--split.validation",
            "3",
            "--seed",
            "5",
        ],
    )
    assert str(options.data) == world["data"] == configuration.data
    assert configuration.model == "latent"
    assert configuration.split.held_out == (4,)
    assert configuration.seed == 5
    with pytest.raises(ValueError, match="unknown reduced-order model 'lateral'"):
        parse_fit(ModelFitConfiguration, ["--model", "lateral"])
