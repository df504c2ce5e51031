"""Judging coarse models of a turbulent flow: how long they follow it, and what they simulate afterwards."""

from closura.evaluation.turbulence.report import publish as publish
from closura.evaluation.turbulence.study import Model as Model
from closura.evaluation.turbulence.study import TurbulenceEvaluation as TurbulenceEvaluation
from closura.evaluation.turbulence.study import measure_exponent as measure_exponent
from closura.evaluation.turbulence.study import run_study as run_study
from closura.evaluation.turbulence.tables import numbers as numbers
from closura.evaluation.turbulence.tables import print_tables as print_tables
from closura.evaluation.turbulence.tables import write_json as write_json
