"""Closures: networks that see a coarse state and answer with a correction."""

from closura.closures._checks import count_parameters as count_parameters
from closura.closures.actor_critic import ActorCritic as ActorCritic
from closura.closures.actor_critic import Normal as Normal
from closura.closures.aligned import AlignedClosure as AlignedClosure
from closura.closures.compact import CompactConfiguration as CompactConfiguration
from closura.closures.compact import compact as compact
from closura.closures.convolution import convolve as convolve
from closura.closures.convolutional import ConvolutionalClosure as ConvolutionalClosure
from closura.closures.guard import Guard as Guard
from closura.closures.ircnn import ircnn as ircnn
from closura.closures.networks import ConvolutionStack as ConvolutionStack
from closura.closures.registry import CLOSURES as CLOSURES
from closura.closures.registry import AnyClosure as AnyClosure
from closura.closures.registry import build as build
from closura.closures.registry import check_place as check_place
from closura.closures.registry import closure as closure
from closura.closures.weights import WeightsClosure as WeightsClosure
