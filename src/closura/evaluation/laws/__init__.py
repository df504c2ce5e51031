"""Evaluation of methods that solve conservation laws: errors, convergence, variation, shocks, costs, figures."""

from closura.evaluation.laws.catalogue import LAW_PROBLEMS as LAW_PROBLEMS
from closura.evaluation.laws.catalogue import LawProblem as LawProblem
from closura.evaluation.laws.catalogue import find_condition as find_condition
from closura.evaluation.laws.catalogue import law_problem as law_problem
from closura.evaluation.laws.findings import verdicts as verdicts
from closura.evaluation.laws.measure import Score as Score
from closura.evaluation.laws.methods import SCHEME_NAMES as SCHEME_NAMES
from closura.evaluation.laws.methods import SHIPPED as SHIPPED
from closura.evaluation.laws.methods import Method as Method
from closura.evaluation.laws.methods import classical as classical
from closura.evaluation.laws.methods import learned as learned
from closura.evaluation.laws.methods import stencil_size as stencil_size
from closura.evaluation.laws.references import reference as reference
from closura.evaluation.laws.report import Training as Training
from closura.evaluation.laws.report import publish as publish
from closura.evaluation.laws.scatter import run_scatter as run_scatter
from closura.evaluation.laws.simulate import Steps as Steps
from closura.evaluation.laws.simulate import simulate as simulate
from closura.evaluation.laws.study import LawEvaluation as LawEvaluation
from closura.evaluation.laws.study import Study as Study
from closura.evaluation.laws.study import run_study as run_study
from closura.evaluation.laws.tables import as_json as as_json
from closura.evaluation.laws.tables import print_tables as print_tables
from closura.evaluation.laws.tables import write_json as write_json
from closura.evaluation.laws.traces import trace as trace
