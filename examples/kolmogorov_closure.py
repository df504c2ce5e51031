"""Learn what a low-pass filter takes away from a chaotic flow: data, filter, two closures, scores, a figure.

python examples/kolmogorov_closure.py                     # simulates a small data set; two minutes or so on a core
python examples/kolmogorov_closure.py --data FILE.zarr    # or opens one (closura data generate kolmogorov)
python examples/kolmogorov_closure.py --tiny              # half a minute: everything runs, little is learned
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from closura.metrics.ensembles import EnsembleScores, Scores
from closura.offline import GaussianProcessSettings, SpectralCutoff
from closura.offline.calibration import calibrate
from closura.offline.convolutional import ConvolutionalSettings
from closura.offline.descent import DescentConfiguration
from closura.trajectories import GenerationConfiguration, Segment, by_trajectory, check_split, generate, open_flow


def main(arguments: Sequence[str] | None = None) -> dict[str, Scores]:
    """All of it, from top to bottom; returns the scores by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set (default: simulate one)")
    parser.add_argument("--out", type=Path, default=Path("kolmogorov-closure"), help="folder for data set and figure")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    # Data: trajectories of Kolmogorov flow, frames (time, component, x, y). A finished data set is not made again.
    duration = 6.0 if options.tiny else 60.0
    small = GenerationConfiguration(grid=32, dt=0.02, transient=40.0, duration=duration, trajectories=6)
    flow = open_flow(options.data) if options.data else generate(small, options.out / "flow.zarr")

    # Split by trajectory. Frames 0.12 apart differ by 1 %: a random split would put the test into the training data.
    last = flow.trajectories - 1
    split = by_trajectory(flow, held_out=(last,), validation=(last - 1,))
    check_split(split.train, split.test)

    def frames(segments: Sequence[Segment], most: int) -> np.ndarray:
        found = np.concatenate([flow.read(s.trajectory, s.start, s.stop)[:: s.step] for s in segments])
        return found[np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]

    train, validation, test = frames(split.train, 2000), frames(split.validation, 40), frames(split.test, 20)

    # Filter: a sharp one, at the published cut-off. cutoff_by_energy(mode_power(train), 0.9) finds one for other flows.
    keep = SpectralCutoff(3.951)

    # Two closures with one interface. Both keep the filtered field and give what is missing, with a spread.
    descent = DescentConfiguration(updates=60 if options.tiny else 400, batch=4 if options.tiny else 8, warmup=20)
    size = {"channels": 12, "layers": 3} if options.tiny else {"channels": 32, "layers": 6}
    members = 20 if options.tiny else 40
    samplers = {
        "gp": GaussianProcessSettings(points=100 if options.tiny else 1000),
        "conv": ConvolutionalSettings(**size, descent=descent),
    }
    scores, samples = {}, {}
    for name, settings in samplers.items():
        closure = settings.fit(keep(train), train, key=jax.random.key(0), forcing=flow.forcing, filtering=keep)
        if name == "conv":  # one factor for the spread, so that 90 % intervals hold; the process finds its own
            closure = calibrate(closure, keep(validation), validation, key=jax.random.key(1))
        samples[name] = closure.sample(keep(test), members, key=jax.random.key(2))  # (member, time, component, x, y)
        accumulator = EnsembleScores()
        accumulator.add(samples[name], test)
        scores[name] = accumulator.result()
    (nothing := EnsembleScores()).add(keep(test)[None], test)  # a single member: its CRPS is the absolute error
    scores = {"no closure": nothing.result(), **scores}
    for name, s in scores.items():
        inside = f"{s.coverage[s.levels.index(0.9)]:.0%} within 90 % intervals" if s.members > 1 else "no spread"
        print(f"{name:11s} relative L2 {s.relative_l2:6.2%}   CRPS {s.crps:.4f}   {inside}")

    shown = {"filtered": keep(test)[0, 0], "reference": test[0, 0]}
    shown |= {f"{name}, one sample": drawn[0, 0, 0] for name, drawn in samples.items()}
    shown |= {f"{name}, spread": drawn[:, 0, 0].std(axis=0) for name, drawn in samples.items()}
    figure = Figure(figsize=(13, 2.6), layout="constrained")
    figure.suptitle(f"velocity u of a held-out frame, t = {flow.times[split.test[0].start]:g}")
    for axes, (title, field) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        colours = {"cmap": "magma"} if "spread" in title else {"cmap": "RdBu_r", "vmin": -1.8, "vmax": 1.8}
        figure.colorbar(axes.imshow(field.T, origin="lower", **colours), ax=axes, shrink=0.6)
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(options.out / "closures.png", dpi=150)
    return scores


if __name__ == "__main__":
    main()
