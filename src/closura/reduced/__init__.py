"""Large scales and what is missing from them: filters, bases, symmetries, closures that are fitted offline.

Every closure and model registers itself when its module is imported; all are imported here, so that files of any of
them can be loaded.
"""

from closura.reduced.baselines import ClimatologyRecipe as ClimatologyRecipe
from closura.reduced.baselines import NoClosureRecipe as NoClosureRecipe
from closura.reduced.baselines import Persistence as Persistence
from closura.reduced.baselines import PersistenceRecipe as PersistenceRecipe
from closura.reduced.calibration import CalibratedRecipe as CalibratedRecipe
from closura.reduced.convolutional import ConvolutionalRecipe as ConvolutionalRecipe
from closura.reduced.diffusion import DiffusionRecipe as DiffusionRecipe
from closura.reduced.filters import FILTERS as FILTERS
from closura.reduced.filters import BoxFilter as BoxFilter
from closura.reduced.filters import Filter as Filter
from closura.reduced.filters import GaussianFilter as GaussianFilter
from closura.reduced.filters import SpectralCutoff as SpectralCutoff
from closura.reduced.filters import cutoff_by_energy as cutoff_by_energy
from closura.reduced.flow_matching import FlowRecipe as FlowRecipe
from closura.reduced.gaussian_process import GaussianProcessRecipe as GaussianProcessRecipe
from closura.reduced.latent_model import LatentRecipe as LatentRecipe
from closura.reduced.model import load_model as load_model
from closura.reduced.model import save_model as save_model
from closura.reduced.pod import POD as POD
from closura.reduced.pod import fit_pod as fit_pod
from closura.reduced.published_diffusion import PublishedDiffusionRecipe as PublishedDiffusionRecipe
from closura.reduced.published_gaussian_process import (
    PublishedGaussianProcessRecipe as PublishedGaussianProcessRecipe,
)
from closura.reduced.published_model import PublishedModelRecipe as PublishedModelRecipe
from closura.reduced.published_variational import PublishedVariationalRecipe as PublishedVariationalRecipe
from closura.reduced.reconstruction import RECONSTRUCTIONS as RECONSTRUCTIONS
from closura.reduced.reconstruction import Reconstruction as Reconstruction
from closura.reduced.reconstruction import load_reconstruction as load_reconstruction
from closura.reduced.reconstruction import save_reconstruction as save_reconstruction
from closura.reduced.slices import place as place
from closura.reduced.spectra import ModePower as ModePower
from closura.reduced.spectra import mode_power as mode_power
from closura.reduced.symmetries import Symmetry as Symmetry
from closura.reduced.symmetries import random_symmetry as random_symmetry
from closura.reduced.variational import VariationalRecipe as VariationalRecipe
