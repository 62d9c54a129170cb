"""What a worker process of parallel.py does first. Nothing heavy is imported here, so that it is in
force at once.
"""

import os
import signal
import threading
import time


def begin() -> None:
    """Leave Ctrl-C to the asking process, which then ends its workers, and end within a second or
    two when that process is gone.

    Ctrl-C reaches every process of a terminal. A worker whose asking process was killed would
    otherwise wait for it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asking = os.getppid()

    def follow() -> None:
        while os.getppid() == asking:
            time.sleep(1)
        os._exit(1)  # as hard as a kill, which the run store survives

    threading.Thread(target=follow, daemon=True).start()
