"""What a learned closure has found: its action beside the optimal one, and as an equation."""

from closura.interpretation.collect import Trajectories as Trajectories
from closura.interpretation.collect import action_scale as action_scale
from closura.interpretation.collect import collect as collect
from closura.interpretation.correlation import Comparison as Comparison
from closura.interpretation.correlation import compare as compare
from closura.interpretation.correlation import notebook_estimate as notebook_estimate
from closura.interpretation.correlation import pearson as pearson
from closura.interpretation.equation import Equation as Equation
from closura.interpretation.equation import symbolic_reading as symbolic_reading
from closura.interpretation.equation import theoretical_terms as theoretical_terms
from closura.interpretation.figures import correlation_figure as correlation_figure
from closura.interpretation.figures import interpretation_figure as interpretation_figure
from closura.interpretation.regression import Fit as Fit
from closura.interpretation.regression import Moments as Moments
from closura.interpretation.regression import least_squares as least_squares
from closura.interpretation.regression import stepwise as stepwise
from closura.interpretation.study import Study as Study
from closura.interpretation.study import interpret as interpret
from closura.interpretation.terms import Factor as Factor
from closura.interpretation.terms import Term as Term
from closura.interpretation.terms import candidate_terms as candidate_terms
from closura.interpretation.terms import evaluate_terms as evaluate_terms
from closura.interpretation.terms import write_equation as write_equation
from closura.interpretation.truncation import UpwindEulerError as UpwindEulerError
from closura.interpretation.truncation import truncation_of as truncation_of
from closura.interpretation.truncation import velocity_channels as velocity_channels
