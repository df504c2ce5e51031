"""Initial conditions and velocity fields: images, published families, and stand-ins that need no data."""

from closura.initial.datasets import DATASETS as DATASETS
from closura.initial.datasets import SPLITS as SPLITS
from closura.initial.datasets import Dataset as Dataset
from closura.initial.datasets import ImageSet as ImageSet
from closura.initial.datasets import Split as Split
from closura.initial.datasets import fetch as fetch
from closura.initial.datasets import find_dataset as find_dataset
from closura.initial.datasets import load_images as load_images
from closura.initial.idx import idx_shape as idx_shape
from closura.initial.idx import read_idx as read_idx
from closura.initial.images import ImageSampler as ImageSampler
from closura.initial.images import grey_values as grey_values
from closura.initial.images import image_to_field as image_to_field
from closura.initial.images import resize_matrix as resize_matrix
from closura.initial.images import rotate_nearest as rotate_nearest
from closura.initial.synthetic import SyntheticImages as SyntheticImages
from closura.initial.velocities import TRAIN2_SETS as TRAIN2_SETS
from closura.initial.velocities import VELOCITIES as VELOCITIES
from closura.initial.velocities import TrainVelocity as TrainVelocity
from closura.initial.velocities import VelocitySampler as VelocitySampler
from closura.initial.velocities import VortexVelocity as VortexVelocity
from closura.initial.velocities import make_velocity as make_velocity
from closura.initial.velocities import train_field as train_field
from closura.initial.velocities import vortex_field as vortex_field
from closura.initial.waves import RandomWaves as RandomWaves
