"""`make bench`: odd inputs, the speed of training, the calibration of the phantom. Fails if one misses its targets."""

import subprocess
import sys

BENCHES = ("inputs", "training_speed", "phantom_calibration")

if __name__ == "__main__":
    sys.exit(max([subprocess.call([sys.executable, "-m", f"bench.{name}"]) for name in BENCHES]))
