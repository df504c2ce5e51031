"""What everything else is made of: cases, solvers, closure specifications, methods, metrics, results, registries."""

from closura.core.case import Case as Case
from closura.core.case import CaseSampler as CaseSampler
from closura.core.method import Method as Method
from closura.core.method import Role as Role
from closura.core.method import StepRule as StepRule
from closura.core.method_results import MethodResult as MethodResult
from closura.core.metric import METRICS as METRICS
from closura.core.metric import Metric as Metric
from closura.core.metric import metric as metric
from closura.core.registry import Registry as Registry
from closura.core.results import Results as Results
from closura.core.solver import Solver as Solver
from closura.core.specification import ClosureSpec as ClosureSpec
from closura.core.transfer import transfer as transfer
