"""`python -m treadle.agent FILE`."""

from __future__ import annotations

import sys

from treadle.agent.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
