"""What everything else is made of: roles, closure specifications, metrics, results, registries."""

from closura.core.metric import METRICS as METRICS
from closura.core.metric import Metric as Metric
from closura.core.metric import metric as metric
from closura.core.registry import Registry as Registry
from closura.core.results import MethodResult as MethodResult
from closura.core.results import Results as Results
from closura.core.roles import Role as Role
from closura.core.specification import ClosureSpec as ClosureSpec
