"""Fitting a reduced-order model to a data set, with checkpoints."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from closura.learners.descent import Descent
from closura.reduced.encoding import SpectralEncoding
from closura.reduced.filters import SpectralCutoff
from closura.reduced.latent_model import LatentModel, LatentRecipe, encode_all
from closura.reduced.model import ReducedModel, load_model, save_model
from closura.runs.configuration import to_plain
from closura.runs.fitting.climate import settle
from closura.runs.fitting.configuration import ModelFitConfiguration, model_fit_from_plain
from closura.runs.fitting.forecasts import forecast_judge, frames_apart
from closura.runs.fitting.frames import FitData
from closura.runs.fitting.loop import CHECKPOINT_EVERY, Task, descend
from closura.runs.fitting.published_model import published_task
from closura.runs.fitting.start import begun_fit
from closura.runs.folder import RunFolder
from closura.runs.status import TrainingDiverged, verdict, write_finished
from closura.runs.tracking import Tracker
from closura.runs.training import Progress
from closura.seeds import key_of

ENCODED = 1000
"""Training frames from which sizes of latent numbers are taken."""


class ModelResult(NamedTuple):
    """The best model by validation, its score, and the time that it took."""

    model: ReducedModel
    score: float
    updates: int
    seconds: float

    @property
    def verdict(self) -> str:
        """What is wrong with the result: no validation that was finite; nothing where one was."""
        return verdict(self.score)


def fit_model(
    configuration: ModelFitConfiguration,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Iterable[Tracker] = (),
    checkpoint_every: float = CHECKPOINT_EVERY,
    report: Callable[[Progress], None] = lambda progress: None,
) -> ModelResult:
    """Fit a reduced-order model and leave a run folder behind.

    ``checkpoint_every`` is the time between checkpoints, in seconds; see :func:`~closura.runs.fitting.loop.descend`.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    ValueError
        If the data, the split or the filter cannot be used, or the data are not those of the run that is resumed.
    TrainingDiverged, Interrupted
        As :func:`closura.runs.train`.
    """
    c = configuration
    prepare = partial(published_task if c.model == "vae" else latent_task, c)
    with begun_fit(
        c, folder, model_fit_from_plain, prepare, resume=resume, overwrite=overwrite, trackers=trackers
    ) as fit:
        run, task = fit.run, fit.task
        assert task is not None
        facts = descend(task, run, fit.sinks, fit.stop, resume=resume, checkpoint_every=checkpoint_every, report=report)
        facts.update(_settle(c, fit.data, run, task.judge, fit.stop))
        write_finished(run, verdict(facts["best"]), **facts)
        model = load_model(run.weights)[0]
    best = facts["best"]
    return ModelResult(model, float("inf") if best is None else best, facts["update"], facts["seconds"])


def _settle(
    c: ModelFitConfiguration,
    data: FitData,
    run: RunFolder,
    judge: Callable[[Any], dict[str, float]],
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """Choose how far runs of a latent model are moved back to the flow, and keep the model, judged anew, with it.

    Raises
    ------
    TrainingDiverged
        If long runs are finite with no size.
    Interrupted
        When asked to stop; the weights, not settled yet, and the last checkpoint stay.
    """
    model, metadata = load_model(run.weights)
    recipe = c.recipe
    if not isinstance(model, LatentModel) or not recipe.back or not recipe.disturbances:
        return {}
    settled, distances = settle(
        model, data, c.every_frames, disturbances=recipe.disturbances, steps=recipe.climate_steps, stop=stop
    )
    if not np.isfinite(min(distances.values())):
        raise TrainingDiverged(f"no long run of the model is finite; {run.weights} is the best by its forecasts")
    figures = judge(settled)
    told = {
        "climate": {f"{size:g}": distance for size, distance in distances.items()},
        "validation_error": figures["validation_error"],
    }
    save_model(run.weights, settled, metadata={**metadata, "data": str(data.flow.path), **told})
    return {"climate": told["climate"], "best": figures["validation_error"]}


def latent_task(c: ModelFitConfiguration, data: FitData) -> Task:
    """The default model's training: latent vectors of all training frames are held, 200 bytes each.

    Raises
    ------
    ValueError
        If the filter has no sharp cut-off, so that filtered fields do not consist of finitely many waves.
    """
    recipe: LatentRecipe = c.recipe
    if not isinstance(data.filtering, SpectralCutoff):
        raise ValueError(
            f"the latent model needs a spectral filter, whose fields are a few waves; got {data.filtering.name!r}: "
            "choose --filter.kind spectral"
        )
    begin, learn = jax.random.split(key_of(c.seed))
    every = frames_apart(c.every_frames, data.split.train)
    recipe.check_lengths([len(s) for s in data.split.train], every)
    sample = data.filtering(data.frames(data.split.train, ENCODED))
    encoding = SpectralEncoding.fitted(sample, data.filtering.cutoff, forcing=data.flow.forcing)
    latents = [
        encode_all(encoding, data.flow.read(s.trajectory, s.start, s.stop)[:: s.step].astype(np.float32))
        for s in data.split.train
    ]
    turns = jnp.asarray(encoding.turns())

    def loss(model: Any, windows: Any, *, key: Any) -> Any:
        return recipe.loss(model, windows, turns, key=key)

    descent = Descent(recipe.descent, loss)
    facts = {"configuration": to_plain(c), "every_frames": c.every_frames, **data.record()}

    def save(path: Path, model: Any, row: dict[str, Any]) -> None:
        told: dict[str, Any] = {name: row[name] for name in ("update", "validation_error") if name in row}
        save_model(path, model, metadata={**facts, **told})

    return Task(
        descent=descent,
        state=descent.init(recipe.initial(encoding, latents, every, key=begin), key=learn),
        batches=lambda first: recipe.batches(latents, every, seed=c.seed, first=first),
        judge=forecast_judge(c, data, recipe.window),
        save=save,
        every=c.judge.every,
        log_every=c.log_every,
    )
