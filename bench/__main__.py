"""Run every measurement: a table for people, then the same as one line of JSON."""

from __future__ import annotations

import json

from bench import poll


def main() -> None:
    """Measure and print."""
    figures = {"poll": poll.measure()}
    found = figures["poll"]
    print(
        f"main job, {poll.POLLS} polls with --poll 0 against a stub server, median of {poll.ROUNDS} alternated rounds"
    )
    print(f"  bare aiohttp     {found['bare_ms']:7.3f} ms per request")
    print(f"  treadle          {found['treadle_ms']:7.3f} ms per poll (signed, judged, reported, durable)")
    print(f"  above the floor  {found['above_ms']:7.3f} ms per poll     ratio {found['ratio']:.2f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
