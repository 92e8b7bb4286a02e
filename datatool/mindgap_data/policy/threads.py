"""How many processors torch computes on, and how it behaves where other processes want them too."""

import os
import sys


def share_processors(threads: int | None) -> None:
    """Set torch's threads (None: one for every processor); call it before torch is imported.

    OpenMP's threads spin while they wait for one another. Where two processes want the same processors, each
    spins through the time the other one needs: two jobs on two processors ran thirty times slower than alone.
    Threads that sleep instead cost a lone process a few per cent.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
