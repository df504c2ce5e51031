"""``closura data``: what it prints, writes and refuses."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from closura.cli import main
from closura.commands import data as data_command
from closura.interruption import Interrupted
from closura.io.locks import locked
from closura.trajectories import GenerationConfiguration, open_flow

TINY = ["--grid", "16", "--trajectories", "2", "--duration", "0.6", "--interval", "0.12", "--transient", "0.5"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(list(arguments))
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == code
    captured = capsys.readouterr()
    # Boxes and line breaks of the terminal are not part of the message.
    return " ".join((captured.out + captured.err).replace("│", " ").split())


def test_generate_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "flow.zarr"
    command = ["data", "generate", "kolmogorov", "--reynolds", "20", "34", "--forcing", "4", *TINY, "--seed", "5"]
    text = printed(capsys, *command, "--out", str(out))
    last = text.strip().splitlines()[-1]
    assert last.startswith(f"{out}: 4 x 5 frames of 16 x 16 points, ")
    assert "simulating: 98 of 98 steps  5 of 5 frames" in text
    data = open_flow(out)
    every = np.stack([data.read(i) for i in range(4)])
    assert f"u: mean 0.000 std {every[:, :, 0].std():.3f} max {np.abs(every[:, :, 0]).max():.3f}" in last
    assert data.seeds == (5, 6, 7, 8)

    shown = printed(capsys, "data", "show", str(out))
    assert "4 trajectories of 5 frames on 16 x 16 points, times 0 to 0.48, every 0.12, forcing 4, float32" in shown
    assert "made with dt 0.01, integrator rk4, padding 3/2, nyquist zero, transient 0.5" in shown
    rows = [line.split() for line in shown.splitlines() if line.split() and line.split()[0] in "0123"]
    assert [row[:3] for row in rows] == [["0", "20", "5"], ["1", "20", "6"], ["2", "34", "7"], ["3", "34", "8"]]
    assert rows[3][4] == f"{every[3].std():.3f}"

    message = refused(capsys, *command, "--out", str(out))
    assert message == f"error: {out} is finished; choose another name, or make it anew with --overwrite"
    printed(capsys, *command, "--out", str(out), "--overwrite", "--precision", "float64", "--integrator", "euler",
            "--padding", "2", "--nyquist", "kolsol", "--start", "published", "--restrict", "10")  # fmt: skip
    data = open_flow(out)
    assert (data.dtype, data.points, data.attributes["start"]) == (np.float64, 10, "published")


def test_generate_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "flow.zarr")
    message = refused(capsys, "data", "generate", "kolmogorov", "--interval", "0.125", "--out", out)
    assert message == "error: interval must be a whole number of dt (0.01); got 0.125, nearest: 0.12 and 0.13"
    assert "--out must be given" in refused(capsys, "data", "generate", "kolmogorov", *TINY)
    assert "unknown 'burgers'; valid: kolmogorov" in refused(capsys, "data", "generate", "burgers", "--out", out)
    wild = ["--reynolds", "1000", "--grid", "16", "--dt", "0.5", "--interval", "0.5", "--duration", "50"]
    message = refused(capsys, "data", "generate", "kolmogorov", *wild, "--out", out, code=1)
    assert "blew up between times" in message
    assert "lower --dt" in message


def test_an_interrupted_generation_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(configuration: GenerationConfiguration, *rest: object, **options: object) -> None:
        raise Interrupted("stopped; go on with: ...")

    monkeypatch.setattr(data_command, "generate", stop)
    out = str(tmp_path / "flow.zarr")
    assert refused(capsys, "data", "generate", "kolmogorov", *TINY, "--out", out, code=130) == (
        "error: stopped; go on with: ..."
    )


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    field = np.random.default_rng(0).normal(size=(2, 6, 2, 8, 8))
    np.save(tmp_path / "a.npy", field.reshape(2, 6, -1))
    out = str(tmp_path / "flow.zarr")
    command = ["data", "convert", str(tmp_path / "a.npy"), "--layout", "published", "--out", out]
    message = refused(capsys, *command)
    assert message == f"error: {tmp_path / 'a.npy'} does not say the Reynolds number: give it with --reynolds"
    facts = ["--reynolds", "34", "--forcing", "3", "--interval", "0.12", "--stride", "2"]
    text = printed(capsys, *command, *facts)
    assert f"{out}: 2 x 3 frames of 8 x 8 points" in text
    np.testing.assert_array_equal(open_flow(out).read(1), field[1, ::2].astype(np.float32))
    assert "flow.zarr exists" in refused(capsys, *command, *facts)
    assert "2 trajectories of 3 frames" in printed(capsys, "data", "show", out)


def test_convert_refuses_numbers_and_files_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    field = np.random.default_rng(0).normal(size=(2, 6, 128))
    np.save(tmp_path / "a.npy", field)
    field[1, 4, 7] = -1e39
    np.save(tmp_path / "large.npy", field)
    (tmp_path / "folder").mkdir()
    out = str(tmp_path / "flow.zarr")
    facts = {"--reynolds": "34", "--forcing": "3", "--interval": "0.12", "--stride": "1"}

    def convert(name: str, **changes: str) -> list[str]:
        words = {**facts, **{f"--{key}": value for key, value in changes.items()}}
        return ["data", "convert", str(tmp_path / name), "--layout", "published", "--out", out,
                *(word for pair in words.items() for word in pair)]  # fmt: skip

    for option, values in (
        ("interval", ("inf", "-0.12")),
        ("reynolds", ("nan", "0")),
        ("forcing", ("4",)),
        ("stride", ("0",)),
    ):
        for value in values:
            message = refused(capsys, *convert("a.npy", **{option: value}))
            assert message.startswith("error: "), message
            assert option in message or "forcing" in message
    assert "trajectory 1 does not fit into float32 (up to 3.4e+38) in frame 4" in refused(capsys, *convert("large.npy"))
    assert "folder is a folder: name the files" in refused(capsys, *convert("folder"))
    assert "no file" in refused(capsys, *convert("nothing.npy"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.npy", "folder", "large.npy"]
    assert f"{out}: 2 x 6 frames" in printed(capsys, *convert("large.npy", precision="float64"))
    command, out = convert("flow.zarr"), str(tmp_path / "again.zarr")
    command[command.index("--out") + 1] = out
    assert "is a zarr store, which closura reads as it is: closura data show" in refused(capsys, *command)


def test_what_a_store_says_commands_no_terminal_and_fits_into_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "flow.zarr"
    printed(capsys, "data", "generate", "kolmogorov", *TINY, "--out", str(out))
    group = zarr.open_group(out, mode="r+", use_consolidated=False)
    evil = "\x1b]0;mine\x07\x1b[2J[bold red]\r\n\u202eerror: all is lost\x9b31m"
    group.attrs.update({"integrator": evil, "start": "x" * 5000, "command": evil})
    text = printed(capsys, "data", "show", str(out))
    assert r"integrator \x1b]0;mine\x07\x1b[2J[bold red]\r\n\u202eerror: all is lost\x9b31m, padding" in text
    assert "x" * 501 not in text
    monkeypatch.setattr(data_command.console, "_width", 20)
    words = printed(capsys, "data", "show", str(out)).split()
    assert all(heading in words for heading in ("Reynolds", "seed", "mean", "std", "max", "min"))
    group.attrs["complete"] = False
    for arguments in (["show", str(out)], ["generate", "kolmogorov", *TINY, "--seed", "9", "--out", str(out)]):
        message = refused(capsys, "data", *arguments)
        assert r"go on with: \x1b]0;mine\x07\x1b[2J[bold red]\r\n\u202eerror: all is lost\x9b31m" in message
        assert message.isprintable()


@pytest.mark.parametrize("action", ["generate", "convert", "filter"])
def test_two_writers_of_one_data_set(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).normal(size=(1, 4, 128)))
    convert = ["convert", "a.npy", "--layout", "published", "--reynolds", "34", "--forcing", "3", "--interval", "0.12"]
    printed(capsys, "data", *convert, "--out", "full.zarr")
    command = {
        "generate": ["generate", "kolmogorov", *TINY],
        "convert": convert,
        "filter": ["filter", "full.zarr", "--cutoff", "2"],
    }[action]
    with locked("flow.zarr", "data set"):
        for more in ([], ["--overwrite"]):
            message = refused(capsys, "data", *command, "--out", "flow.zarr", *more)
            assert "flow.zarr is in use: process" in message
    assert not Path("flow.zarr").exists()
    printed(capsys, "data", *command, "--out", "flow.zarr")
    assert open_flow("flow.zarr").frames > 0


def test_actions(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["data"], ["data", "--help"]):
        text = printed(capsys, *arguments)
        for action in ("fetch", "generate", "convert", "filter", "show"):
            assert f"closura data {action}" in text
    assert "unknown action 'delete'; valid: fetch, generate" in refused(capsys, "data", "delete")
    assert refused(capsys, "data", "show", str(tmp_path / "no.zarr")) == f"error: no data set at {tmp_path}/no.zarr"
    assert "is no zarr store" in refused(capsys, "data", "show", str(tmp_path))
    monkeypatch.setattr(data_command, "fetch", lambda name: tmp_path / name)
    assert printed(capsys, "data", "fetch", "mnist") == f"mnist: {tmp_path / 'mnist'}\n"
    # What filtering does is tested elsewhere: here only the way there.
    seen: list[object] = []
    monkeypatch.setitem(data_command.ACTIONS._entries, "filter", lambda arguments: seen.append(arguments))
    main(["data", "filter", "flow.zarr", "--cutoff", "4"])
    assert seen == [["flow.zarr", "--cutoff", "4"]]
