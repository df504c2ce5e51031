"""Runs: a folder per training, its settings, its checkpoints and the loop that fills it."""

from closura.runs.checkpoints import CheckpointError as CheckpointError
from closura.runs.configuration import TrainConfiguration as TrainConfiguration
from closura.runs.configuration import ValidationConfiguration as ValidationConfiguration
from closura.runs.folder import RunError as RunError
from closura.runs.folder import RunFolder as RunFolder
from closura.runs.reference_bank import ReferenceConfiguration as ReferenceConfiguration
from closura.runs.tracking import MissingExtraError as MissingExtraError
from closura.runs.training import Interrupted as Interrupted
from closura.runs.training import TrainingDiverged as TrainingDiverged
from closura.runs.training import TrainingResult as TrainingResult
from closura.runs.training import train as train
