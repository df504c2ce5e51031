"""Error against cost: every classical method on all grids at several time steps, and closures, on one front."""

from closura.evaluation.fronts.benchmark import Fronts as Fronts
from closura.evaluation.fronts.benchmark import Point as Point
from closura.evaluation.fronts.benchmark import run_benchmark as run_benchmark
from closura.evaluation.fronts.contender import FRACTIONS as FRACTIONS
from closura.evaluation.fronts.contender import Contender as Contender
from closura.evaluation.fronts.contender import Horizon as Horizon
from closura.evaluation.fronts.contender import Ladder as Ladder
from closura.evaluation.fronts.contender import Outcome as Outcome
from closura.evaluation.fronts.contender import Suite as Suite
from closura.evaluation.fronts.contender import Work as Work
from closura.evaluation.fronts.figures import front_figure as front_figure
from closura.evaluation.fronts.figures import horizon_figure as horizon_figure
from closura.evaluation.fronts.front import on_front as on_front
from closura.evaluation.fronts.front import paired as paired
from closura.evaluation.fronts.laws import law_suite as law_suite
from closura.evaluation.fronts.records import as_json as as_json
from closura.evaluation.fronts.records import read_json as read_json
from closura.evaluation.fronts.records import write_json as write_json
from closura.evaluation.fronts.suites import BENCHMARKS as BENCHMARKS
from closura.evaluation.fronts.suites import CELL_SUITES as CELL_SUITES
from closura.evaluation.fronts.suites import LAW_SUITES as LAW_SUITES
from closura.evaluation.fronts.tables import markdown as markdown
from closura.evaluation.fronts.tables import page as page
from closura.evaluation.fronts.tables import print_fronts as print_fronts
from closura.evaluation.fronts.tables import write_csv as write_csv
