"""`python -m treadle.agent FILE`."""

from __future__ import annotations

import sys

from treadle.agent.sandbox import Probed

if __name__ == "__main__":
    probed = Probed()
    from treadle.agent.main import main  # most of what there is to import, meanwhile

    sys.exit(main(sys.argv[1:], probed))
