"""Large scales and what is missing from them: filters, bases, symmetries, closures that are fitted offline."""

from closura.reduced.baselines import ClimatologyRecipe as ClimatologyRecipe
from closura.reduced.baselines import NoClosureRecipe as NoClosureRecipe
from closura.reduced.baselines import Persistence as Persistence
from closura.reduced.baselines import PersistenceRecipe as PersistenceRecipe
from closura.reduced.filters import FILTERS as FILTERS
from closura.reduced.filters import BoxFilter as BoxFilter
from closura.reduced.filters import Filter as Filter
from closura.reduced.filters import GaussianFilter as GaussianFilter
from closura.reduced.filters import SpectralCutoff as SpectralCutoff
from closura.reduced.filters import cutoff_by_energy as cutoff_by_energy
from closura.reduced.gaussian_process import GaussianProcessRecipe as GaussianProcessRecipe
from closura.reduced.pod import POD as POD
from closura.reduced.pod import fit_pod as fit_pod
from closura.reduced.published_gaussian_process import (
    PublishedGaussianProcessRecipe as PublishedGaussianProcessRecipe,
)
from closura.reduced.reconstruction import RECONSTRUCTIONS as RECONSTRUCTIONS
from closura.reduced.reconstruction import Reconstruction as Reconstruction
from closura.reduced.reconstruction import load_reconstruction as load_reconstruction
from closura.reduced.reconstruction import save_reconstruction as save_reconstruction
from closura.reduced.slices import place as place
from closura.reduced.spectra import ModePower as ModePower
from closura.reduced.spectra import mode_power as mode_power
from closura.reduced.symmetries import Symmetry as Symmetry
from closura.reduced.symmetries import random_symmetry as random_symmetry
