"""What solvers are built from: differences, spectral derivatives, integrators, restrictions, stability."""

from closura.numerics.differences import SCHEMES as SCHEMES
from closura.numerics.differences import AnyScheme as AnyScheme
from closura.numerics.differences import Scheme as Scheme
from closura.numerics.differences import SpectralScheme as SpectralScheme
from closura.numerics.differences import advective_derivative as advective_derivative
from closura.numerics.differences import derivative as derivative
from closura.numerics.differences import get_scheme as get_scheme
from closura.numerics.differences import laplacian as laplacian
from closura.numerics.differences import second_derivative as second_derivative
from closura.numerics.integrators import INTEGRATORS as INTEGRATORS
from closura.numerics.integrators import Integrator as Integrator
from closura.numerics.integrators import get_integrator as get_integrator
from closura.numerics.padding import pad as pad
from closura.numerics.padding import pad_all as pad_all
from closura.numerics.restriction import block_mean as block_mean
from closura.numerics.restriction import subsample as subsample
from closura.numerics.stability import check_time_step as check_time_step
from closura.numerics.stability import courant_limit as courant_limit
from closura.numerics.stability import courant_number as courant_number
