"""Commands that judge and run what was fitted to flows: arguments, files, one-line errors."""

import json

import numpy as np
import pytest
from test_flow_evaluation import closure_run, facts, model_run, write_flow

from closura.cli import main
from closura.commands.fitting import parse_train_model
from closura.commands.flows import FilterOptions, one_each, run_evaluate_closure, run_evaluate_model, run_rollout
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
    expected = ["--closure", "A", "--closure", "B", "--data", "D", "--closure", "C", "--closure=E"]
    assert one_each(words, "--closure") == expected


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
    assert result.notes == ("LEAK: trajectories 2 were seen in training or validation.",)


def test_a_bare_file_needs_a_filter(world, tmp_path, capsys):
    own = {key: value for key, value in facts(world["flow"]).items() if key == "points"}
    bare = str(closure_run(tmp_path / "bare", world["flow"], metadata=own) / "weights.safetensors")
    words = ["--closure", f"bare={bare}", "--data", world["data"], "--members", "4", "--frames", "3"]
    assert "--filter.kind" in fails(capsys, ["evaluate", "kolmogorov-closure", *words])
    result = run_evaluate_closure([*words, "--filter.cutoff", "3"])
    assert result.study.filter.plain() == {"filter": "spectral", "cutoff": 3.0}
    assert len(result.study.stretches) == 5
    assert "does not say which simulations it has seen" in result.notes[0]


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
        (["evaluate", "kolmogorov-rom", "--rom", "MODEL", "--data", "DATA", "--starts", "0"], "--starts must be"),
        (["rollout", "CLOSURE", "--start", "DATA", "--out", "x.zarr"], "expected a closura reduced model"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "x.zarr", "--first-frame", "59"], "--first-frame"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "DATA"], "exists"),
        (["rollout", "MODEL", "--start", "DATA", "--out", "x", "--trajectory", "1", "--trajectories", "2"], "one"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(world, capsys, words, message):
    named = {"CLOSURE": world["closure"], "MODEL": world["model"], "DATA": world["data"]}
    filled = [named.get(word, word.replace("=CLOSURE", f"={world['closure']}")) for word in words]
    assert message in fails(capsys, filled)


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
    assert list(result.rows) == ["persistence", "climatology", "rom"]


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


def test_train_model_options(world):
    options, configuration = parse_train_model(
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
        ]
    )
    assert str(options.data) == world["data"] == configuration.data
    assert configuration.model == "latent"
    assert configuration.split.held_out == (4,)
    assert configuration.seed == 5
    with pytest.raises(ValueError, match="unknown reduced-order model 'lateral'"):
        parse_train_model(["--model", "lateral"])
