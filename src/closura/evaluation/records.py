"""An evaluation in a file: all its numbers, without fields, so that reports can be written from it again."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from closura.evaluation.metrics import plain
from closura.evaluation.results import Evaluation, MethodResult
from closura.files import write_atomically
from closura.tensor_files import read_npz

FORMAT = 1
_PLAIN = (
    *("problem", "steps", "simulations", "time_step", "description", "threshold", "configuration", "origin"),
    *("groups", "bases", "finer", "quantity", "components", "channels", "truth", "error_name"),
)
_SINCE = {"truth": None, "error_name": "relative MAE"}
"""What earlier versions did not write."""


def save_evaluation(evaluation: Evaluation, path: str | Path) -> Path:
    """Write errors, divergence, times and words of an evaluation into one ``.npz`` file; fields stay outside."""
    arrays: dict[str, np.ndarray] = {} if evaluation.scale is None else {"scale": evaluation.scale}
    methods = []
    for number, (name, method) in enumerate(evaluation.methods.items()):
        arrays[f"error_{number}"], arrays[f"diverged_at_{number}"] = method.error, method.diverged_at
        if method.mass_error is not None:
            arrays[f"mass_error_{number}"] = method.mass_error
        times = [method.milliseconds_per_step, method.milliseconds_per_simulation]
        arrays[f"milliseconds_{number}"] = np.asarray(times, np.float64)
        methods.append({"name": name, "parameters": method.parameters})
    about: dict[str, Any] = {name: getattr(evaluation, name) for name in _PLAIN}
    facts = {"format": FORMAT, "methods": methods, "arrays": sorted(arrays), **plain(about)}
    text = json.dumps(facts, allow_nan=False, ensure_ascii=False)
    content = io.BytesIO()
    np.savez_compressed(content, about=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    return write_atomically(path, content.getvalue())


def load_evaluation(path: str | Path) -> Evaluation:
    """Read what :func:`save_evaluation` wrote.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no such file, or one of another version.
    """
    path = Path(path)
    try:
        arrays = read_npz(path)
        about = json.loads(arrays.pop("about").tobytes())
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}; this closura reads {FORMAT}")
        if lost := set(about.get("arrays", ())) - arrays.keys():
            raise ValueError(f"it lacks {', '.join(sorted(lost))}; it is damaged")
        methods = {}
        for number, entry in enumerate(about["methods"]):
            per_step, per_simulation = (float(value) for value in arrays[f"milliseconds_{number}"])
            methods[entry["name"]] = MethodResult(
                entry["name"], arrays[f"error_{number}"], arrays.get(f"mass_error_{number}"),
                arrays[f"diverged_at_{number}"], per_step, per_simulation, entry["parameters"],
            )  # fmt: skip
        values = {name: {**_SINCE, **about}[name] for name in _PLAIN}
    except FileNotFoundError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no evaluation that closura can read: {error}") from error
    values |= {name: tuple(values[name]) for name in ("groups", "finer", "components", "channels")}
    return Evaluation(methods=methods, scale=arrays.get("scale"), **values)
