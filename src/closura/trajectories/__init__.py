"""Data sets of simulated flows: made, converted, opened, split, and cut into windows."""

from closura.trajectories.configuration import GenerationConfiguration as GenerationConfiguration
from closura.trajectories.convert import convert as convert
from closura.trajectories.flow_data import FlowData as FlowData
from closura.trajectories.flow_data import open_flow as open_flow
from closura.trajectories.generate import FlowDiverged as FlowDiverged
from closura.trajectories.generate import GenerationProgress as GenerationProgress
from closura.trajectories.generate import generate as generate
from closura.trajectories.schema import FlowDescription as FlowDescription
from closura.trajectories.split import Segment as Segment
from closura.trajectories.split import Split as Split
from closura.trajectories.split import by_time as by_time
from closura.trajectories.split import by_trajectory as by_trajectory
from closura.trajectories.split import check_split as check_split
from closura.trajectories.split import interleaved as interleaved
from closura.trajectories.split import shared_trajectories as shared_trajectories
from closura.trajectories.store import FlowWriter as FlowWriter
from closura.trajectories.store import new_flow as new_flow
from closura.trajectories.windows import Windows as Windows
