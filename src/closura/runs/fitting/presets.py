"""Presets of fits: settings that belong together, under a name."""

from dataclasses import replace
from typing import Any, Literal, get_args

from closura.reduced import (  # noqa: F401 - they register themselves
    convolutional,
    diffusion,
    flow_matching,
    gaussian_process,
    latent_model,
    variational,
)
from closura.reduced.learned import LearnedRecipe
from closura.reduced.model import model_recipe
from closura.reduced.reconstruction import find
from closura.runs.configuration import Preset
from closura.runs.fitting.configuration import (
    ClosureFitConfiguration,
    ForecastJudgeConfiguration,
    JudgeConfiguration,
    ModelFitConfiguration,
)

ClosureName = Literal["conv", "gp", "vae", "diffusion", "flow"]
CLOSURE_NAMES: tuple[str, ...] = get_args(ClosureName)


def closure_preset(closure: str, preset: Preset) -> ClosureFitConfiguration:
    """The settings of a closure.

    Raises
    ------
    ValueError
        If closure or preset is unknown, or the closure was never published.
    """
    recipe: Any = find(closure).recipe()
    if preset == "default":
        return ClosureFitConfiguration(closure=closure, recipe=recipe)
    if preset == "quick":
        if isinstance(recipe, LearnedRecipe):
            updates = min(400, recipe.descent.updates)
            descent = replace(recipe.descent, updates=updates, warmup=min(50, updates // 2))
            recipe = replace(recipe, **{"descent": descent})
        return ClosureFitConfiguration(
            closure=closure, recipe=recipe, judge=JudgeConfiguration(frames=10, members=4, every=200)
        )
    raise ValueError(f"unknown preset {preset!r} for closure {closure!r}; valid: default, quick")


def model_preset(model: str, preset: Preset) -> ModelFitConfiguration:
    """The settings of a reduced-order model.

    Raises
    ------
    ValueError
        If model or preset is unknown, or the model has no such preset.
    """
    recipe: Any = model_recipe(model)()
    if preset == "default":
        return ModelFitConfiguration(model=model, recipe=recipe)
    if preset == "quick":
        descent = replace(recipe.descent, updates=1500, batch=32)
        recipe = replace(recipe, descent=descent, horizons=((0.0, 1), (0.5, 2), (0.8, 4)), width=64, blocks=2)
        return ModelFitConfiguration(
            model=model, recipe=recipe, judge=ForecastJudgeConfiguration(starts=8, members=4, time=12.0, every=500)
        )
    raise ValueError(f"unknown preset {preset!r} for model {model!r}; valid: default, quick")
