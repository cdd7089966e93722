"""An import that somebody stops in the middle, and takes up again."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.plays.conftest import PROGRAM, Person

ROWS = 60_000


@pytest.mark.requirement("R61")
@pytest.mark.timeout(300)
def test_interrupted_import_goes_on_where_it_stopped(administrator: Person, tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    lines = (f"player {number % 40},{number % 997},{number}\n" for number in range(ROWS))
    file.write_text("submitter,score,time\n" + "".join(lines))
    board = ("--direction", "ascending", "--counting", "every", "--json")
    words = ("entry", "import", str(file), "--board", "Long", *board)
    listing = ("entry", "list", "long", "--json")
    with subprocess.Popen(
        [*PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=administrator.environment(),
    ) as process:
        while process.poll() is None:
            listed = administrator.moothall(*listing)
            if listed.returncode == 0 and json.loads(listed.stdout)["total"]:
                break
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"repeat the same command to go on" in stderr
    assert b"Traceback" not in stderr
    assert 0 < json.loads(stdout)["imported"] < ROWS

    report = json.loads(administrator.does(*words))
    assert report["imported"] + report["known"] == ROWS
    assert 0 < report["known"] < ROWS
    assert json.loads(administrator.does(*listing))["total"] == ROWS
