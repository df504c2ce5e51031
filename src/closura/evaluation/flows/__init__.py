"""Closures and reduced-order models of flows, judged on data that they have not seen."""

from closura.evaluation.flows.closure_results import ClosureEvaluation as ClosureEvaluation
from closura.evaluation.flows.closure_results import ClosureStudy as ClosureStudy
from closura.evaluation.flows.closure_study import run_closure_study as run_closure_study
from closura.evaluation.flows.model_study import ModelEvaluation as ModelEvaluation
from closura.evaluation.flows.model_study import run_model_study as run_model_study
from closura.evaluation.flows.model_truth import ModelStudy as ModelStudy
from closura.evaluation.flows.model_truth import choose_starts as choose_starts
from closura.evaluation.flows.report import publish_closures as publish_closures
from closura.evaluation.flows.report import publish_models as publish_models
from closura.evaluation.flows.rollouts import Rollout as Rollout
from closura.evaluation.flows.rollouts import write_rollout as write_rollout
from closura.evaluation.flows.subjects import ClosureSubject as ClosureSubject
from closura.evaluation.flows.subjects import ModelSubject as ModelSubject
from closura.evaluation.flows.subjects import load_closure_subject as load_closure_subject
from closura.evaluation.flows.subjects import load_model_subject as load_model_subject
