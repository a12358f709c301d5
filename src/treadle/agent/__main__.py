"""`python -m treadle.agent FILE`."""

from __future__ import annotations

import gc
import os
import sys

from treadle.agent.sandbox.entrance import TRIAL, Entrance

if __name__ == "__main__":
    entrance = Entrance(os.environ, TRIAL)
    gc.disable()  # nothing of what is imported is garbage, and to look for it takes a twentieth of the time
    from treadle.agent.main import main  # most of what there is to import, while the entrance starts

    gc.freeze()
    gc.enable()
    sys.exit(main(sys.argv[1:], entrance))
