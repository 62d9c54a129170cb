"""`make bench`: speed of training, the phantom's calibration, false verdicts; 1 if one misses."""

import subprocess
import sys

BENCHES = ("training_speed", "phantom_calibration", "null_study")

if __name__ == "__main__":
    sys.exit(max([subprocess.call([sys.executable, "-m", f"bench.{name}"]) for name in BENCHES]))
