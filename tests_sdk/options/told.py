"""A training program that keeps what it was told: arguments, environment, the files of its channels and checkpoints."""

import json
import os
import signal
import sys
from pathlib import Path


def files(directory: Path) -> list[str]:
    """Give the files below a directory."""
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file())


def main() -> None:
    """Write a checkpoint; wait for SIGTERM where there was none and `--wait` is said; keep what was told."""
    ml = Path("/opt/ml")
    kept = ml / "checkpoints"
    restored = files(kept)
    if kept.is_dir():
        (kept / f"{len(restored)}.ckpt").write_text("state")
    print("val_loss: 0.5 loss: 0.25", flush=True)
    if "--wait" in sys.argv and not restored:
        print("waiting", flush=True)
        signal.pause()
    data = {each.name: files(each) for each in (ml / "input/data").iterdir() if each.is_dir()}
    told = {"arguments": sys.argv[1:], "environment": dict(os.environ), "data": data, "restored": restored}
    (ml / "model" / f"{os.environ.get('SM_CURRENT_HOST', 'told')}.json").write_text(json.dumps(told))
    (ml / "output/data" / "seen").write_text("seen")


if __name__ == "__main__":
    main()
