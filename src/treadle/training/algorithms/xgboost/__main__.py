"""The program: `python -m treadle.training.algorithms.xgboost train`."""

from __future__ import annotations

import sys

from treadle.training.algorithms.program import run
from treadle.training.algorithms.xgboost.job import train

if __name__ == "__main__":
    sys.exit(run(train, sys.argv[1:]))
