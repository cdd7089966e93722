"""An auditor, a thief of rows, and an operator who keeps the heads elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plays.conftest import NewPerson, Person, RunningHall, StartHall
from tests.servers.postgres import HALLS_VARIABLE, database_of, run_sql
from tests.unit.test_docs import DOCS, fences_of

FAILED_PRECONDITION = 16

# In a process of its own, as a thief has one.
TAMPER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(5_000)
for sql in sys.argv[2:]:
    connection.execute(sql)
"""


def tamper(hall: RunningHall, *statements: str) -> None:
    if (server := os.environ.get(HALLS_VARIABLE)) is not None:
        run_sql(database_of(hall.folder, server), "; ".join(statements))
        return
    database = str(hall.folder / "hall.sqlite")
    subprocess.run([sys.executable, "-c", TAMPER, database, *statements], check=True, timeout=60)


def exported(who: Person, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in who.does("audit", "export", *words).splitlines()]


def finding(who: Person) -> tuple[str, int]:
    done = who.moothall("audit", "verify", "--json")
    assert done.returncode == FAILED_PRECONDITION, done.stderr
    problem = json.loads(done.stderr)
    assert problem["name"] == "audit_broken"
    return problem["details"]["fault"], problem["details"]["number"]


@pytest.mark.requirement("R24")
def test_an_auditor_sees_what_a_thief_did(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path, engine: str
) -> None:
    heads = tmp_path / "another disk" / "heads"
    heads.parent.mkdir()
    hall = start_hall("hall", "--set", f"audit.heads={heads}")
    boss, eve = new_person(), new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    eve.joins(hall, "eve")
    assert eve.moothall("audit", "export").returncode != 0

    # The export has the whole story, and eve's attempt, and bears narrowing.
    rows = exported(boss)
    numbers = [int(str(row["number"])) for row in rows]
    # On PostgreSQL events take numbers of the same sequence.
    assert numbers == (sorted(set(numbers)) if engine == "postgres" else [*range(1, len(rows) + 1)])
    assert [row["outcome"] for row in exported(boss, "--actor", "eve")][-1] == "permission_denied"
    assert exported(boss, "--since", "2200-01-01") == []
    assert len(exported(boss, "--until", "2200-01-01", "--outcome", "done")) >= len(rows) - 1
    assert boss.moothall("audit", "export", "--since", "yesterday").returncode == 2
    listed = json.loads(boss.does("audit", "list", "--limit", "2", "--json"))
    assert (len(listed["entries"]), listed["next"]) == (2, numbers[1])

    # At the start of the hall a head may have had nothing to tell; a restart writes one.
    hall.stop()
    hall = start_hall("hall", "--set", f"audit.heads={heads}", port=hall.port)
    wait_for_seal(boss)
    shutil.copy(heads, tmp_path / "kept heads")
    report = json.loads(boss.does("audit", "verify", "--json"))
    assert report["rows_checked"] >= len(rows)

    # Anybody can check a copy of the heads, with nothing but the public key.
    kept = (tmp_path / "kept heads").read_text()
    public_key = json.loads(boss.does("audit", "head", "--json"))["public_key"]
    assert check_heads(public_key, kept)
    assert not check_heads(public_key, kept.replace('"number":', '"number":1'))

    # Who writes to the database is found out, and what they did is named.
    _, second, third, *_ = numbers
    tamper(hall, f"UPDATE access_audit SET actor = 'nobody' WHERE number = {third}")
    assert finding(boss) == ("altered", third)
    tamper(hall, f"DELETE FROM access_audit WHERE number IN ({second}, {third})")
    assert finding(boss) == ("missing", second)


def check_heads(public_key: str, lines: str) -> bool:
    """Do what `docs/explanation/audit.md` tells to do."""
    (fence,) = [one for one in fences_of(DOCS / "explanation/audit.md") if one.language == "python"]
    checked = subprocess.run(
        [sys.executable, "-c", fence.text, public_key],
        input=lines,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    return checked.returncode == 0


def wait_for_seal(who: Person) -> None:
    """Ask until all rows that were there are sealed; each question takes a good while."""
    for _ in range(60):
        head = json.loads(who.does("audit", "head", "--json"))
        if head["sealed_number"] > 0 and head["head_count"] > 0:
            return
    pytest.fail("nothing was sealed")
