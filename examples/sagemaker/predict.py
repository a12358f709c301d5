"""Uses a trained model: `python predict.py model.tar.gz [validation.csv]` prints how many digits it tells right.

The archive is read, not trusted: two members are taken by their names, nothing is unpacked to the disk, and the model's
format is data only (a pickle would be a program).
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import xgboost as xgb

LARGEST = 100_000_000  # bytes of a member; this model has less than one million
SHADES = " .:-=+*#%@"


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Give the content of a file in the archive."""
    member = next((each for each in archive if each.name.removeprefix("./") == name), None)
    if member is None:
        raise SystemExit(f"{archive.name} has no {name}; it has {', '.join(archive.getnames()) or 'nothing'}")
    content = archive.extractfile(member) if member.isreg() and member.size <= LARGEST else None
    if content is None:
        raise SystemExit(f"{name} in {archive.name} is no file, or larger than {LARGEST} bytes")
    return content.read()


def load(path: Path) -> tuple[xgb.Booster, dict]:
    """Give the model of an archive, and what the training program wrote about it."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            metadata = json.loads(read_member(archive, "metadata.json"))
            model = xgb.Booster()
            model.load_model(bytearray(read_member(archive, "model.ubj")))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SystemExit(f"{path} cannot be read: {error}") from None
    return model, metadata


def picture(pixels: np.ndarray) -> str:
    """Draw a digit: 8 x 8 pixels of 0 to 16."""
    rows = (pixels.reshape(8, 8) / 16 * (len(SHADES) - 1)).astype(int)
    return "\n".join("    " + "".join(SHADES[shade] * 2 for shade in row) for row in rows)


def main() -> int:
    """Predict, print; give the exit code."""
    if len(sys.argv) not in (2, 3):
        print(f"usage: {sys.argv[0]} model.tar.gz [rows.csv]", file=sys.stderr)
        return 2
    model, metadata = load(Path(sys.argv[1]))
    data = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent / "data" / "validation.csv"
    rows = np.loadtxt(data, delimiter=",", dtype=np.float32, ndmin=2)
    labels, features = rows[:, 0].astype(int), rows[:, 1:]

    chances = model.predict(xgb.DMatrix(features))
    predicted = chances.argmax(axis=1)
    right = predicted == labels
    print(f"model: {metadata['epochs']} epochs, {metadata['features']} features, {metadata['classes']} classes")
    for index in (0, 1, 2):
        print(f"\n{picture(features[index])}")
        print(f"    predicted {predicted[index]} ({chances[index].max():.0%} sure), it is {labels[index]}")
    print(f"\naccuracy: {right.mean():.4f} ({right.sum()} of {len(labels)} right)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
