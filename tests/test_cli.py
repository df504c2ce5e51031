"""The command line as a user meets it: what it prints, writes and refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from closura.cli import main
from closura.commands import demo
from closura.commands.configuration import expanded
from closura.commands.evaluation import parse_evaluate
from closura.reporting.formatting import short
from closura.simulation.saved import open_simulations

SMALL = ["--cells", "16", "--ratio", "2"]
TRAIN = [
    "train", "advection", *SMALL, "--compact.channels", "4", "--compact.layers", "1", "--compact.radius", "1",
    "--learning.updates", "6", "--learning.batch", "2", "--learning.horizons", "2", "--learning.fractions", "1",
    "--reference.slots", "4", "--reference.blocks", "2", "--reference.steps", "8", "--validation.simulations", "2",
    "--validation.steps", "8", "--validation.every", "3",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Brackets are markup to the terminal library, and part of the name to us.
    folder = tmp_path_factory.mktemp("runs[bold]") / "small"
    main([*TRAIN, "--run", str(folder)])
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == code
    captured = capsys.readouterr()
    # Boxes and line breaks of the terminal are not part of the message.
    return " ".join((captured.out + captured.err).replace("│", " ").split())


def printed_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error to the letter, with nothing but it."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_help_needs_no_problem_and_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    shown = capsys.readouterr().out
    for command in ("demo", "train", "evaluate", "data fetch", "models get"):
        assert f"closura {command}" in shown
    text = refused(capsys, "train", "advection", "--learner", "ppo", "--help", code=0)
    for option in ("--preset", "--learner", "--closure", "--resume", "--learning.clip", "--reference.slots", "--cells"):
        assert option in text


def test_a_run_holds_what_is_needed_to_repeat_it(run: Path) -> None:
    for name in ("configuration.json", "environment.json", "status.json", "metrics.jsonl", "weights.safetensors"):
        assert (run / name).stat().st_size > 0, name
    configuration = json.loads((run / "configuration.json").read_text())
    assert configuration["problem"]["cells"] == 16
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert json.loads((run / "environment.json").read_text())["packages"]["jax"]


def test_a_run_that_ends_worse_than_no_closure_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    wild = [*TRAIN, "--learning.learning-rate", "30", "--learning.schedule", "constant"]
    with pytest.raises(SystemExit) as caught:
        main([*wild, "--run", str(folder)])
    assert caught.value.code == 3
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert "worse than no closure: error" in last
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["verdict"]) == ("finished", "worse than no closure")
    assert status["best"] > status["uncorrected"]


def test_evaluate_writes_the_promised_numbers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, saved, out = tmp_path / "t.json", tmp_path / "s.zarr", tmp_path / "out[1]"
    main(["evaluate", "advection", "--closure", str(run), "--simulations", "3", "--json", str(file),
          "--save", str(saved), "--out", str(out)])  # fmt: skip
    shown = capsys.readouterr().out
    assert "generated, test set" in shown
    assert f"report: {out / 'report.html'}\n" in shown
    numbers = json.loads(file.read_text())
    assert (numbers["problem"], numbers["steps"], numbers["simulations"]) == ("advection", 50, 3)
    assert list(numbers["methods"]) == ["CGS", "ACGS", "upwind3", "upwind5", "spectral", "FGS", "small"]
    for name, method in numbers["methods"].items():
        assert set(method["relative_mae"]) >= {"mean", "std", "median", "max"}
        assert len(method["relative_mae_per_step"]["mean"]) == 51
        assert method["diverged"] == 0
        assert method["milliseconds_per_step"] > 0
        assert (method["relative_mae"]["mean"] == 0) is (name == "FGS")
    for name in ("table.json", "table.csv", "report.html", "figures/error_curves.png", "figures/animation.gif"):
        assert (out / name).stat().st_size > 0, name

    # What was asked for can be asked again.
    options, problem = parse_evaluate(expanded(["--config", str(out / "configuration.toml")]))
    assert (options.closure, options.simulations, problem.cells) == ((str(run),), 3, 16)

    # The saved fields hold the same errors, and another evaluation can start from them.
    data = open_simulations(saved)
    state, reference = np.asarray(data["state"]), np.asarray(data["truth"])
    error = np.abs(state - reference).mean(axis=tuple(range(3, state.ndim)))
    solvers = [str(name) for name in data["solver"].values]
    for name in ("CGS", "small"):
        expected = numbers["methods"][name]["relative_mae_per_step"]["mean"]
        np.testing.assert_allclose(error[solvers.index(name)].mean(axis=0), expected, rtol=1e-5)
    main(["evaluate", "advection", "--start", str(saved), "--json", str(tmp_path / "u.json"), "--no-timing"])
    again = json.loads((tmp_path / "u.json").read_text())
    assert again["description"]["start"] == "saved simulations, s.zarr"
    assert again["methods"]["ACGS"]["relative_mae"]["mean"] == pytest.approx(
        numbers["methods"]["ACGS"]["relative_mae"]["mean"], rel=1e-6
    )
    assert "decides the physics" in refused(capsys, "evaluate", "advection", "--start", str(saved), "--cells", "32")


def test_mistakes_are_named_with_what_is_valid(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOSURA_DATA", raising=False)
    monkeypatch.setenv("CLOSURA_CACHE", str(tmp_path / "cache"))
    there = str(run)
    cases = [
        (["fly"], "unknown command 'fly'; valid: demo, train, evaluate, rollout, report, interpret, data, models"),
        (["train"], "which problem?"),
        (["train", "navier-stokes"], "unknown problem 'navier-stokes'; valid: advection, burgers, "),
        (
            ["train", "advection", "--closure", "big"],
            "--closure: unknown 'big'; valid: compact, ircnn, pointwise, recurrent, or a FILE.py",
        ),
        (["train", "advection", "--learner", "sarsa"], "--learner: unknown 'sarsa'; valid: bptts, ppo, a2c"),
        (["train", "advection", "--preset", "fast"], "--preset: unknown 'fast'; valid: paper, default, quick"),
        (["train", "advection", "--run", there], "already holds a run: continue it with --resume"),
        (["train", "advection", "--run", there, "--resume", "--seed", "9"], "seed: 0 -> 9"),
        (["train", "advection", "--courant", "0.9", "--run", str(tmp_path / "a")], "Courant number 1.8"),
        (["train", "advection", "--images", "mnist", "--run", str(tmp_path / "b")], "closura data fetch mnist"),
        (["evaluate", "advection", "--closure", str(tmp_path / "none")], "expected a run folder"),
        (["evaluate", "advection", "--closure", str(tmp_path)], "weights.safetensors"),
        (["evaluate", "advection", "--closure", f"CGS={there}"], "cannot be called CGS"),
        (["evaluate", "advection", "--simulations", "0"], "simulations must be positive"),
        (
            ["evaluate", "advection", "--images", "cats"],
            "--images: unknown 'cats'; valid: synthetic, mnist",
        ),
        (["evaluate", "advection", "--start", str(tmp_path / "none.zarr")], "none.zarr"),
        (["data", "fetch", "cifar"], "unknown 'cifar'; valid: mnist, fashion-mnist"),
        (["models", "get", "gpt"], "unknown 'gpt'; valid: advection, burgers, "),
    ]
    for arguments, message in cases:
        assert message in refused(capsys, *arguments), arguments
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_errors_are_printed_as_they_are_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In full, on standard error, with the brackets of paths and of extras."""
    for tracker, package in (("wandb", "wandb"), ("tensorboard", "tensorboardX")):
        monkeypatch.setitem(sys.modules, package, None)
        shown = printed_error(capsys, *TRAIN, "--run", str(tmp_path / "a"), "--trackers", tracker)
        assert shown == f"error: this tracker needs the package {package!r}: pip install 'closura[tracking]'\n"
    assert not (tmp_path / "a").exists()
    # "[/bold]" would close what was never opened, "[red]" would vanish.
    folder = tmp_path / "[red]" / "x[" / "bold]"
    shown = printed_error(capsys, "train", "advection", "--run", str(folder), "--resume")
    advice = "begin one with the same command without --resume"
    assert shown == f"error: there is no run in {folder}: configuration.json is missing; {advice}\n"
    shown = printed_error(capsys, "train", "advection", "--run", str(run))
    assert shown.startswith(f"error: {run} already holds a run: continue it with --resume")
    assert "runs[bold]" in shown
    shown = printed_error(capsys, "evaluate", "advection", "--closure", str(tmp_path / "[/bold]none"))
    assert f"{tmp_path / '[/bold]none'}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "advection", "--learnin.updates", "5"], "unknown option --learnin.updates; did you mean "),
        (["train", "advection", "--cells", "many"], "--cells: expected a whole number; got 'many'"),
        (["train", "kolmogorov", "--seeds", "1"], "unknown option --seeds"),
        (["evaluate", "advection", "--simulation", "5"], "unknown option --simulation; did you mean --simulations"),
        (["evaluate", "turbulence", "--times", "5"], "unknown option --times"),
        (["evaluate", "burgers-1d", "--method", "weno5-js"], "unknown option --method; did you mean --methods"),
        (["data", "fetch", "mnist", "--force"], "unknown option --force; all options: closura data fetch --help"),
        (["train", "nope"], "turbulence, kolmogorov-closure, kolmogorov-rom"),
        (["data", "fetch"], "mnist or fashion-mnist must be given; all options: closura data fetch --help"),
        (
            ["models", "put", "closure-rl-advection"],
            "unknown action 'put': closura models ACTION, with ACTION one of list, ",
        ),
        (["demo", "--simulations", "few"], "--simulations: expected a whole number; got 'few'"),
        (["interpret", "w.npz", "--term", "5"], "unknown option --term; did you mean --terms"),
        (["report", "run", "--simulation", "5"], "unknown option --simulation; did you mean --simulations"),
    ],
)
def test_wrong_words_are_told_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    shown = printed_error(capsys, *arguments)
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert shown.endswith("\n")
    assert said in shown


def test_settings_that_a_run_cannot_go_on_with_are_told_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed_error(capsys, "train", "advection", "--run", str(run), "--resume", "--seed", "9", "--cells", "32")
    assert shown == (
        f"error: {run} was started with other settings; resume without these options, or start a new run: "
        "problem.cells: 16 -> 32; seed: 0 -> 9\n"
    )


def check_demo(out: Path, shown: str) -> None:
    for name in ("table.json", "table.csv", "report.html", "figures/error_curves.png", "figures/animation.gif"):
        assert (out / name).stat().st_size > 0, name
    numbers = json.loads((out / "table.json").read_text())
    assert numbers["simulations"] == 2
    assert list(numbers["methods"]) == ["CGS", "ACGS", "upwind3", "upwind5", "spectral", "FGS", "compact"]
    # The verdict is against the best method on the grid that learns nothing, whichever that is, and names its cost.
    means = {name: entry["relative_mae"]["mean"] for name, entry in numbers["methods"].items()}
    best = min(("CGS", "ACGS", "upwind3", "upwind5", "spectral"), key=lambda name: means[name])
    said = next(line for line in shown.splitlines() if line.startswith("compact: Against "))
    assert said.startswith(f"compact: Against {best}, ")
    assert "the best classical method on this grid: " in said
    assert f"{short(100 * means['compact'])} % against {short(100 * means[best])} % (mean at step" in said
    assert re.search(rf"it costs \S+ times (as much as|less than) {best}\.", said)
    assert f"Open {out / 'report.html'}\n" in shown
    assert json.loads((out / "run" / "status.json").read_text())["state"] == "finished"


def test_the_demo_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the demo does, on a grid of 16 x 16; simulations that cannot be are refused at once."""
    options = [*TRAIN[2 : TRAIN.index("--learning.updates")], *TRAIN[TRAIN.index("--learning.updates") + 2 :]]
    monkeypatch.setattr(demo, "TRAINING", " ".join(options))
    arguments = ["demo", "--updates", "2", "--simulations", "2", "--out", str(tmp_path / "demo")]
    main(arguments)
    check_demo(tmp_path / "demo", capsys.readouterr().out)
    main(arguments)
    assert capsys.readouterr().out.count("(done before)") == 2
    weights = (tmp_path / "demo" / "run" / "weights.safetensors").read_bytes()
    with pytest.raises(SystemExit):
        main([*arguments, "--simulations", "0"])
    assert "simulations must be positive, a whole number below 2^31; got 0" in capsys.readouterr().err
    assert (tmp_path / "demo" / "run" / "weights.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_the_demo_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On its 64 x 64 grid: most of the time goes into the reference on 256 x 256."""
    main(["demo", "--updates", "2", "--simulations", "2", "--out", str(tmp_path / "demo")])
    check_demo(tmp_path / "demo", capsys.readouterr().out)


def test_users_without_64_bits_get_the_same_command(tmp_path: Path) -> None:
    """The tests run with 64-bit arrays allowed; users do not: train and evaluate in a plain process."""
    code = (
        "import sys, jax; from closura.cli import main; assert not jax.config.jax_enable_x64;"
        f"main({[*TRAIN, '--run', str(tmp_path / 'run')]!r});"
        f"main(['evaluate', 'advection', '--closure', {str(tmp_path / 'run')!r}, '--simulations', '2', '--steps', '4',"
        " '--no-timing'])"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "validation error" in done.stdout


def test_more_memory_than_there_is_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "advection", "--cells", "8", "--ratio", "1000000"])  # 8 million points per side
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory (")


def test_the_help_of_benchmarks_needs_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["benchmark", "--help"])
    assert left.value.code == 0
    assert "--help)" not in capsys.readouterr().out  # as the default of the problem
