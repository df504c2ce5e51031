"""Closures: networks that see a coarse state and answer with a correction."""

from closura.closures.adaptive import StencilClosure as StencilClosure
from closura.closures.adaptive import StencilHead as StencilHead
from closura.closures.adaptive import StencilPolicy as StencilPolicy
from closura.closures.aligned import AlignedClosure as AlignedClosure
from closura.closures.closure import Closure as Closure
from closura.closures.compact import compact as compact
from closura.closures.convolution import convolve as convolve
from closura.closures.ircnn import ircnn as ircnn
from closura.closures.networks import ACTIVATIONS as ACTIVATIONS
from closura.closures.networks import Activation as Activation
from closura.closures.networks import Convolution as Convolution
from closura.closures.networks import ConvolutionStack as ConvolutionStack
from closura.closures.policy import Normal as Normal
from closura.closures.policy import Policy as Policy
from closura.closures.registry import AT_INTERFACES as AT_INTERFACES
from closura.closures.registry import CLOSURES as CLOSURES
from closura.closures.registry import AnyClosure as AnyClosure
from closura.closures.registry import AnyPolicy as AnyPolicy
from closura.closures.registry import build as build
from closura.closures.registry import check_place as check_place
from closura.closures.registry import closure_options as closure_options
from closura.closures.stencil import apply_stencil as apply_stencil
from closura.closures.weights import WeightsClosure as WeightsClosure
from closura.closures.weights_policy import WeightsPolicy as WeightsPolicy
from closura.closures.weights_policy import weighing_agents as weighing_agents
