"""Methods side by side from the same held-out beginnings: numbers, tables, figures, reports."""

from closura.evaluation.metrics import paired_difference as paired_difference
from closura.evaluation.numbers import summary as summary
from closura.evaluation.publish import publish as publish
from closura.evaluation.records import load_evaluation as load_evaluation
from closura.evaluation.records import save_evaluation as save_evaluation
from closura.evaluation.report import write_report as write_report
from closura.evaluation.results import Evaluation as Evaluation
from closura.evaluation.results import MethodResult as MethodResult
from closura.evaluation.saved import load_store as load_store
from closura.evaluation.saved import saver as saver
from closura.evaluation.simulate import evaluate as evaluate
from closura.evaluation.simulate import rollout as rollout
from closura.evaluation.storage import load_simulations as load_simulations
from closura.evaluation.storage import save_simulations as save_simulations
from closura.evaluation.tables import print_table as print_table
from closura.evaluation.tables import write_json as write_json
