"""Ways to improve a closure; each is one readable file."""

from closura.learners.a2c import A2C as A2C
from closura.learners.a2c import A2CConfiguration as A2CConfiguration
from closura.learners.bptts import BPTTS as BPTTS
from closura.learners.bptts import BPTTSConfiguration as BPTTSConfiguration
from closura.learners.collection import generalised_advantages as generalised_advantages
from closura.learners.ppo import PPO as PPO
from closura.learners.ppo import PPOConfiguration as PPOConfiguration
from closura.learners.state import LEARNERS as LEARNERS
from closura.learners.state import Learner as Learner
from closura.learners.state import LearnerKind as LearnerKind
from closura.learners.state import LearnerState as LearnerState
from closura.learners.state import averaged as averaged
from closura.learners.state import learner as learner
