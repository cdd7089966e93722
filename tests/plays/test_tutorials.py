"""A newcomer works through a tutorial, pasting what stands there."""

import re
from pathlib import Path

import pytest

from tests.plays.test_readme import Newcomer
from tests.unit.test_docs import ROOT, fences_of

SPEED_RUNS = ROOT / "docs" / "tutorials" / "a-speed-run-community.md"


@pytest.mark.requirement("R50")
@pytest.mark.requirement("R53")
@pytest.mark.requirement("R56")
@pytest.mark.requirement("R57")
@pytest.mark.requirement("R61")
def test_a_speed_run_community_from_nothing(tmp_path: Path) -> None:
    newcomer = Newcomer(ROOT, tmp_path)
    blocks = [fence.text for fence in fences_of(SPEED_RUNS) if fence.language == "sh"]
    opens, meets, joins, board, others, level, watch, runs, verdict, looks, menus, *rest = blocks
    old_records, season = rest
    third = None
    try:
        for block in (opens, meets, joins, board, others, level):
            newcomer.pastes(block)
        third = newcomer.watches(watch)
        newcomer.waits_until_followed("board/any-percent")
        assert "754.31" in newcomer.pastes(runs)
        assert "entry_verified" not in third.shown
        assert "Which version?" in newcomer.pastes(verdict)
        assert third.wait_for("leaderboards.entry_verified"), third.shown
        assert (tmp_path / "proof-of-rita.md").read_bytes() == (ROOT / "README.md").read_bytes()
        assert re.search(r"^ +1 +.*rita", newcomer.pastes(looks), re.MULTILINE)

        shell = newcomer.watches(menus)
        try:
            assert shell.wait_for("mo"), shell.shown
            shell.type("q\n")
            assert shell.end() == 0, shell.shown
        finally:
            shell.close()

        assert "392 of 392 rows imported" in newcomer.pastes(old_records)
        again, _ = old_records.split(".venv/bin/moothall board list")
        assert "392 known" in newcomer.pastes(again)
        shown = newcomer.pastes(season)
        assert shown.count("rita") == 1, "in season 1 only"
        newcomer.stops_the_hall()
    finally:
        if third is not None:
            third.close()
        newcomer.leaves()
