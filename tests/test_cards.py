"""Closures that come with the package against their cards, cards of one's own, and what is wrong with either."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closura.cards import card as cards
from closura.cards.card import CardError, card_path, facts_of, fitting_card, read_card, weights_of, write_card
from closura.cards.measured import ROUND_OFF, allowed, differences
from closura.cards.probe import TOLERANCE, probe_difference
from closura.cli import main
from closura.commands.cards import evaluated, mismatches
from closura.export.c import hash_of
from closura.export.package import ExportError, export
from closura.io.closures import SHIPPED, WITH_MEMORY
from closura.io.weights import load_weights

ROOT = Path(__file__).parents[1]


def shipped_card(name: str) -> dict[str, Any]:
    found = fitting_card(weights_of(name))
    assert found is not None
    return found


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Weights of the package under another name, in a folder of their own, without a card."""
    return Path(shutil.copy(weights_of("burgers-1d"), tmp_path / "mine.safetensors"))


@pytest.fixture
def carded(own: Path) -> Path:
    """The same with the package's card."""
    shutil.copy(card_path(weights_of("burgers-1d")), card_path(own))
    return own


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    with pytest.raises(SystemExit) as left:
        main(["models", *arguments])
    assert left.value.code == status
    return capsys.readouterr().err


@pytest.mark.parametrize("name", SHIPPED)
def test_closures_of_the_package_hold_what_their_cards_say(name: str) -> None:
    weights, card = weights_of(name), shipped_card(name)
    found = facts_of(weights)
    apart = {"range", "time_step", "grid", "probe", "evaluations"}  # of the problem, which is not built here
    assert {key: value for key, value in card.items() if key not in apart} == {
        key: value for key, value in found.items() if key not in apart
    }
    assert probe_difference(found["probe"], card["probe"]) <= TOLERANCE
    assert all(card["units"])
    assert card_path(weights).stat().st_size < 30_000
    if card["problem"].endswith("-1d"):
        assert card["range"] is None  # standardised stencils
    else:
        low, high = np.transpose(card["range"])
        assert len(low) == len(card["observation"])
        assert (low < high).all()
    assert card["evaluations"]["quick"]
    tables = [table for run in card["evaluations"]["full"] for table in run["tables"]]
    for table in tables:  # at the end it is ahead of what it corrects
        methods = table["rows"][-1]["methods"]
        mine = next(entry for entry in methods.values() if entry["role"] == "closure")
        uncorrected = next(entry for entry in methods.values() if entry["role"] == "uncorrected")
        assert (mine["value"] > uncorrected["value"]) == (table["better"] == "higher")


def test_one_is_evaluated_against_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "verify", "burgers-1d"])
    said = capsys.readouterr().out
    numbers = sum(
        len(row["methods"])
        for run in shipped_card("burgers-1d")["evaluations"]["quick"]
        for table in run["tables"]
        for row in table["rows"]
    )
    assert f"{numbers} numbers of closura evaluate burgers-1d --closure burgers-1d --methods weno5-js" in " ".join(
        said.split()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_all_is_as_the_card_says(name: str) -> None:
    for level in ("quick", "full"):
        assert [found for right, found in mismatches(weights_of(name), level) if not right] == []


def test_a_card_of_ones_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "show", str(own)])
    said = capsys.readouterr().out
    assert "1,635 parameters" in said
    assert f"no card yet; range and held-out numbers: closura models card {own}" in said
    assert "no card beside" in refused(capsys, "verify", str(own))
    words = "--methods weno5-js --initial tophat --cells 32 --shifts 0"
    main(["models", "card", str(own), f"--full={words}"])
    capsys.readouterr()
    main(["models", "show", str(own), "--json"])
    card = json.loads(capsys.readouterr().out)
    (run,) = card["evaluations"]["full"]
    assert run["arguments"] == words.split()
    row = run["tables"][0]["rows"][-1]["methods"]
    assert {name: entry["role"] for name, entry in row.items()} == {"mine": "closure", "weno5-js": "uncorrected"}
    again = evaluated(own, "mine", run["arguments"])
    assert all(beyond == 0 for _, beyond, _ in differences(again, run))


def test_numbers_may_differ_by_round_off_alone_or_a_part_of_what_is_unsure() -> None:
    (run,) = shipped_card("burgers-1d")["evaluations"]["quick"]
    there = json.loads(json.dumps(run))
    entry = there["tables"][0]["rows"][0]["methods"]["burgers-1d"]
    entry["value"] *= 1 + 0.5 * ROUND_OFF
    assert max(beyond for _, beyond, _ in differences(there, run)) <= 1
    stated = run["tables"][0]["rows"][0]["methods"]["burgers-1d"]
    assert allowed(stated) == max(ROUND_OFF * stated["value"], 0.25 * stated["error"])
    for value in (stated["value"] + 1.01 * allowed(stated), None):
        entry["value"] = value
        wrong = [what for what, beyond, _ in differences(there, run) if beyond > 1]
        assert wrong == ["L2 error of burgers-1d at the end"]
    del there["tables"][0]["rows"][0]["methods"]["weno5-js"]
    assert math.inf in [beyond for _, beyond, _ in differences(there, run)]


def test_other_weights_are_not_those_of_the_card(carded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = carded.read_bytes()
    carded.write_bytes(content[:-4] + b"\0\0\0\0")
    said = refused(capsys, "verify", str(carded), status=1)
    assert said.count("error:") == 1
    assert "is not what its card was made of: expected sha256" in said
    with pytest.raises(ExportError, match="make it anew with: closura models card"):
        export(carded, carded.parent / "out")
    carded.write_bytes(content[:5000])
    assert refused(capsys, "verify", str(carded), status=1).count("error:") == 1


def test_answers_and_parameters_are_compared(carded: Path) -> None:
    card: Any = read_card(carded)
    card["parameters"] += 1
    card["probe"]["rms"][0] *= 1.01
    card["evaluations"] = {}
    write_card(carded, card)
    wrong = [found for right, found in mismatches(carded, "quick") if not right]
    assert wrong[0] == "1,635 parameters, the card says 1,636"
    assert re.fullmatch(r"answers differ by \d\.\de-0[34] of the largest, more than 0.0001", wrong[1])
    assert len(wrong) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name: expected"),
        ({"probe": None}, "probe: expected"),
        ({"sha256": None}, "sha256: expected"),
        ({"evaluations": {"quick": [{"command": "", "arguments": ["--cells", 64], "tables": []}]}}, "evaluations"),
        ({"evaluations": {"quick": 5}}, "evaluations"),
        ({"evaluations": {"quick": [{"command": "", "arguments": [], "closure": "x", "tables": [{}]}]}}, "evaluations"),
    ],
)
def test_damaged_cards_are_refused(change: dict[str, Any], message: str, carded: Path) -> None:
    path = card_path(carded)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CardError, match=f"mine.json is damaged: {message}"):
        read_card(carded)
    path.write_text(path.read_text()[:-100])
    with pytest.raises(CardError, match=r"mine\.json is damaged .*: make it anew with: closura models card"):
        read_card(carded)


@pytest.mark.parametrize("option", ["--out=there", "--json", "--save", "--overwrite", "--plugin"])
def test_evaluations_of_cards_write_nothing(option: str, own: Path) -> None:
    with pytest.raises(ValueError, match=f"leave out {option}"):
        evaluated(own, "mine", [option])


def test_wrong_names_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ", ".join(SHIPPED)
    assert f"expected a run folder or a .safetensors file of weights, or one of {names}" in refused(
        capsys, "show", "gpt"
    )
    assert f"or one of {names}" in refused(capsys, "verify", str(tmp_path))
    assert "closura models get closure-rl-advection downloads it" in refused(capsys, "show", "closure-rl-advection")
    assert "unknown option --ful" in refused(capsys, "verify", "burgers-1d", "--ful")


def test_weights_are_copied_with_their_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "get", "euler-1d", "--out", str(tmp_path / "mine")])
    assert "euler-1d.json" in capsys.readouterr().out
    copy = tmp_path / "mine" / "euler-1d.safetensors"
    assert fitting_card(copy) == shipped_card("euler-1d")
    assert sorted(each.name for each in copy.parent.iterdir()) == ["euler-1d.json", "euler-1d.safetensors"]


def test_the_list_says_what_each_gains(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "list", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {*SHIPPED, *WITH_MEMORY, "closure-rl-advection"}
    assert re.fullmatch(
        r"relative MAE \d\.\d+ % \(upwind5 \d\.\d+ %\) at step 400, t = 1\.56", found["advection"]["gain"]
    )


def test_exports_take_range_and_grid_from_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem, whose flows take minutes, is not built."""
    monkeypatch.setattr(cards, "training_problem", lambda *_: pytest.fail("the problem was built"))
    for name in ("turbulence", "turbulence-volumes"):
        card = export(name, tmp_path / name)
        stated = shipped_card(name)
        assert (card["range"], card["grid"], card["time_step"]) == (stated["range"], [64, 64], 0.064)
        header = (tmp_path / name / f"{card['name']}.h").read_text()
        assert "1, time step 0.064" in header or "64 x 64 cells, time step 0.064" in header
        assert card["hash"] == stated["hash"] == hash_of(load_weights(weights_of(name)).program())
    assert export("turbulence", tmp_path / "none", simulations=0)["range"] is None


def _numbers(page: str, row: str, *, after: str) -> list[float]:
    """All numbers of the first row of a table that begins so, behind a place in a page."""
    text = (ROOT / page).read_text().partition(after)[2]
    line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
    return [float(number) for number in re.findall(r"\d+\.\d+", line.removeprefix(f"| {row}"))]


def _values(name: str, method: str, *, run: int = 0) -> list[float]:
    rows = shipped_card(name)["evaluations"]["full"][run]["tables"][0]["rows"]
    return [row["methods"][method]["value"] for row in rows]


def test_the_documentation_says_what_the_cards_say() -> None:
    """To the digits that it prints."""
    stated = _numbers("docs/methods.md", "MNIST, train: **closure**", after="Against the exact reference")
    assert [round(100 * value, 2) for value in _values("advection", "advection")[-5:]] == stated[::3]
    of_weno = [
        _values(n, n, run=i)[0] / _values(n, "weno5-js", run=i)[0] for n in ("burgers-1d", "euler-1d") for i in (0, 1)
    ]
    burgers, smooth, tubes, waves = of_weno
    stated = _numbers("README.md", "**agents of the package**", after="### Learned numerical schemes")
    assert [round(burgers, 3), round(smooth, 2)] == [stated[0], stated[2]]
    assert round(tubes ** (3 / 4) * waves ** (1 / 4), 3) == stated[3]
