"""Results that earlier versions wrote: ``evaluation.npz``."""

import json
from pathlib import Path

import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.core.metric import CONSERVATION
from closura.io.tensor_files import read_npz

FILE = "evaluation.npz"


def read_evaluation(path: str | Path) -> Results:
    """An evaluation of closura 0.12 or earlier as results."""
    path = Path(path)
    try:
        arrays = read_npz(path)
        about = json.loads(arrays.pop("about").tobytes())
        if about["format"] != 1:
            raise ValueError(f"format {about['format']}; this closura reads 1")
        if lost := set(about.get("arrays", ())) - arrays.keys():
            raise ValueError(f"it lacks {', '.join(sorted(lost))}; it is damaged")
        reference = about.get("truth")
        if reference is None:  # not said by the first versions, which called it so
            classical = [entry["name"] for entry in about["methods"][1:] if entry["parameters"] is None]
            reference = next((name for name in classical if name in ("FGS", "truth", "fine")), None)
        methods = {}
        for number, entry in enumerate(about["methods"]):
            name, values = entry["name"], {"error": arrays[f"error_{number}"]}
            if f"mass_error_{number}" in arrays:
                values[CONSERVATION] = arrays[f"mass_error_{number}"]
            role = Role.CLOSURE if entry["parameters"] is not None else Role.BASELINE
            if number == 0:
                role = Role.UNCORRECTED
            elif name == reference:
                role = Role.REFERENCE
            elif name in about["finer"]:
                role = Role.FINE_BASELINE
            methods[name] = MethodResult(
                role, values, arrays[f"diverged_at_{number}"], float(arrays[f"milliseconds_{number}"][0]),
                entry["parameters"], about["bases"].get(name, ""),
            )  # fmt: skip
        title = about.get("error_name", "relative MAE")
        metrics = [
            Metric("error", _gone, title, percent=True),
            Metric(CONSERVATION, _gone, f"relative {about['quantity']} error", percent=True),
        ]
        times = about["time_step"] * np.arange(about["steps"] + 1)
        return Results.build(
            about["problem"], methods, metrics, error="error", times=times, groups=about["groups"],
            components=about["components"], channels=about["channels"],
            variables={"scale": (("case", "time"), arrays["scale"])} if "scale" in arrays else {},
            description=about["description"], provenance=about["configuration"], time_step=about["time_step"],
            threshold=about["threshold"], origin=about["origin"], quantity=about["quantity"],
        )  # fmt: skip
    except FileNotFoundError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no evaluation that closura can read: {error}") from error


def _gone(*_: object) -> None:
    raise ValueError("results do not hold the functions of their metrics")
