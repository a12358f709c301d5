"""A short storm: see `storm.py`."""

from __future__ import annotations

import pytest

from tests.end_to_end.storm import storming


@pytest.mark.timeout(300)
def test_a_storm_leaves_nothing_wrong() -> None:
    """Whatever is killed and whenever: what was answered holds, outputs and logs are whole, and nothing is left."""
    with storming(seed=7, seconds=8) as storm:
        for _ in range(2):
            storm.round()
        done = storm.done
    assert done["create"] > 10, done
    assert sum(done[each] for each in done if each.startswith(("service, ", "agent killed"))) > 5, done
    assert any(done[each] for each in done if each.startswith("Completed, ")), done
