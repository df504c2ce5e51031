"""What counts as a difference between records, and that their commands are understood."""

from pathlib import Path

import numpy as np
import pytest
from record import GROUPS, differences, tables_of

from closura.commands.training import parse_train


def test_differences_are_told_by_place_and_tolerance() -> None:
    old = {"a": {"error": 1.0, "seconds": 3.0, "mass": 0.0, "cells": ["1.00 ± 2.1e-17", "x"], "gone": 1}}
    new = {"a": {"error": 1.0 + 1e-7, "seconds": 9.0, "mass": 1e-16, "cells": ["1.01 ± 4.7e-17", "x"], "more": 1}}
    assert differences(old, new, "g") == ["g/a/gone: gone", "g/a/more: new"]
    assert differences({"error": 1.0, "at": "3 of 4"}, {"error": 1.1, "at": "2 of 4"}, "g") == [
        "g/error: 1.0 -> 1.1", "g/at: 3 of 4 -> 2 of 4",
    ]  # fmt: skip
    weights = np.ones((2, 2), np.float32)
    apart = {"train x/final/kernel": weights * np.float32(1 + 1e-6)}
    assert not differences({"train x/final/kernel": weights}, {"train x/final/kernel": weights.copy()}, "g")
    assert "9.5e-07 apart" in differences({"train x/final/kernel": weights}, apart, "g")[0]


def test_rows_of_tables_have_the_names_of_their_columns() -> None:
    page = "<table><thead><tr><th>run</th><th>ms</th></tr></thead>\n<tr><th>a <b>1</b></th><td>3</td></tr></table>"
    page += '<table><tr><th scope="row">updates</th><td>20</td></tr></table>'
    assert tables_of(page) == [[{"a 1": {"ms": "3"}}], [{"updates": ["20"]}]]


@pytest.mark.parametrize("group", sorted(GROUPS.keys() - {"fits"}))
def test_trainings_of_records_are_understood(group: str) -> None:
    trainings = [words.split()[1:] for step, words in GROUPS[group] if step.startswith("train ")]
    assert trainings
    for words in trainings:
        options, _ = parse_train(words)
        assert options.run is not None
        assert Path(options.run).parent == Path("runs")
