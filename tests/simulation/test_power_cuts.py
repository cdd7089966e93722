"""A whole hall loses nothing that it acknowledged when its power is cut.

More cuts: ``python -m tests.simulation.power_cuts --cuts 500 --seed 1``.
"""

from pathlib import Path

import pytest

from tests.simulation.power_cuts import cut_many

# The power is cut on a simulated disk, which is the file's alone.
pytestmark = pytest.mark.sqlite

CUTS = 30


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_power_cut_of_a_whole_hall(tmp_path: Path, seed: int) -> None:
    report = await cut_many(tmp_path, CUTS, seed)
    assert report.moments.total() == CUTS
    # Enough was promised, and enough repeated, for a loss to be seen.
    assert report.answered > 10 * CUTS
    assert report.repeated > 5 * CUTS
