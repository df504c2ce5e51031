"""Initial conditions and velocity fields: images, published families, and stand-ins that need no data."""

from closura.fields.datasets import DATASETS as DATASETS
from closura.fields.datasets import SPLITS as SPLITS
from closura.fields.datasets import Dataset as Dataset
from closura.fields.datasets import ImageSet as ImageSet
from closura.fields.datasets import Split as Split
from closura.fields.datasets import fetch as fetch
from closura.fields.datasets import find_dataset as find_dataset
from closura.fields.datasets import load_images as load_images
from closura.fields.idx import idx_shape as idx_shape
from closura.fields.idx import read_idx as read_idx
from closura.fields.images import ImageSampler as ImageSampler
from closura.fields.images import image_to_field as image_to_field
from closura.fields.images import resize_matrix as resize_matrix
from closura.fields.images import rotate_nearest as rotate_nearest
from closura.fields.synthetic import SyntheticImages as SyntheticImages
from closura.fields.velocities import TRAIN2_SETS as TRAIN2_SETS
from closura.fields.velocities import VELOCITIES as VELOCITIES
from closura.fields.velocities import PeriodicTrainVelocity as PeriodicTrainVelocity
from closura.fields.velocities import PublishedTrain2Velocity as PublishedTrain2Velocity
from closura.fields.velocities import PublishedTrainVelocity as PublishedTrainVelocity
from closura.fields.velocities import VelocitySampler as VelocitySampler
from closura.fields.velocities import VortexVelocity as VortexVelocity
from closura.fields.velocities import make_velocity as make_velocity
from closura.fields.velocities import train_field as train_field
from closura.fields.velocities import vortex_field as vortex_field
from closura.fields.waves import RandomWaves as RandomWaves
