"""Methods side by side from the same held-out beginnings: numbers, tables, figures, reports."""

from closura.core import Results as Results
from closura.metrics.comparison import paired_difference as paired_difference
from closura.reporting.numbers import summary as summary
from closura.reporting.publish import publish as publish
from closura.reporting.report import write_report as write_report
from closura.reporting.table import print_tables as print_tables
from closura.reporting.tables import write_json as write_json
from closura.simulation.evaluate import evaluate as evaluate
from closura.simulation.evaluate import rollout as rollout
from closura.simulation.saved import load_simulations as load_simulations
from closura.simulation.saved import load_store as load_store
from closura.simulation.saved import save_simulations as save_simulations
from closura.simulation.saved import saver as saver
