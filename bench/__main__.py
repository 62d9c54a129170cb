"""`make bench`: the speed of training, then the calibration of the phantom. Fails if either misses its targets."""

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(
        max([subprocess.call([sys.executable, "-m", f"bench.{name}"]) for name in ("training_speed", "phantom_calibration")])
    )
