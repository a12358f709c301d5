"""A training program as the SDKs ship it: hyperparameters as arguments, places from `SM_*`."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import helper  # shipped beside this file


def main() -> int:
    """Sum the numbers of the channel `train`, fail, or wait for SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="sum")
    parser.add_argument("--factor", type=int, default=1)
    given = parser.parse_args()
    model = Path(os.environ["SM_MODEL_DIR"])
    if given.mode == "fail":
        print("this goes wrong", file=sys.stderr)
        return 3
    if given.mode == "wait":
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
        print("waiting", flush=True)
        while not stopped:
            time.sleep(0.1)
        (model / "stopped").write_text("asked to stop")
        return 0
    total = helper.total(Path(os.environ["SM_CHANNEL_TRAIN"])) * given.factor
    print(f"total={total};")
    (model / "total").write_text(str(total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
