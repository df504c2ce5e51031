"""Files of every closure and model can be loaded by whoever imports the package alone."""

import subprocess
import sys


def test_all_closures_and_models_are_known_after_one_import():
    program = "from closura.offline import MODELS, SAMPLERS; print(*SAMPLERS.all(), *MODELS.all())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    closures = ("conv", "diffusion", "diffusion-published", "flow", "gp", "gp-published", "vae", "vae-published")
    for name in (*closures, "none", "persistence", "climatology", "calibrated", "latent"):
        assert name in said
