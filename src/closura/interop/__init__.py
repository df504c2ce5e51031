"""What comes from elsewhere and what goes out: weights, published networks."""

from closura.interop.closures import load_closure as load_closure
from closura.interop.published import fetch_published as fetch_published
from closura.interop.published import load_published as load_published
from closura.interop.published_weno import load_weno_agent as load_weno_agent
from closura.interop.weights import WeightsError as WeightsError
from closura.interop.weights import load_weights as load_weights
from closura.interop.weights import read_header as read_header
from closura.interop.weights import save_weights as save_weights
