"""`make bench`: odd inputs, speed of training, the phantom's calibration, false verdicts.

Fails if one misses its targets.
"""

import subprocess
import sys

BENCHES = ("inputs", "training_speed", "phantom_calibration", "null_study")

if __name__ == "__main__":
    sys.exit(max([subprocess.call([sys.executable, "-m", f"bench.{name}"]) for name in BENCHES]))
