"""Whole halls by seeds, and proof that a run can be repeated and notices what is broken."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from moothall.action import idempotency
from moothall.testing import ManualClock
from tests.simulation import runs
from tests.simulation.__main__ import main
from tests.simulation.loop import SimulatedLoop, StandstillError
from tests.simulation.runs import SimulationError, simulate

NODE_STEPS = 60
"""Of a run on several nodes, which then takes about as long as a run on a disk."""

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R20")
@pytest.mark.requirement("R24")
@pytest.mark.requirement("R33")
@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.requirement("R54")
@pytest.mark.sqlite  # which has a disk of its own here
@pytest.mark.timeout(600)  # a run takes two seconds, and much longer where the machine is busy
def test_r36_runs_with_power_cuts_agree_with_the_model() -> None:
    counts: Counter[str] = Counter()
    for seed in range(3, 8):
        counts.update(simulate(seed).counts)
    for what in ("deaths", "deeds done unheard", "slow readers", "replies repeated", "events"):
        assert counts[what] > 0, f"these runs show nothing about {what}"


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R20")
@pytest.mark.requirement("R24")
@pytest.mark.requirement("R33")
@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seed", "nodes"), [(1, 2), (2, 3)])
def test_r36_runs_of_several_nodes_agree_with_the_model(engine: str, seed: int, nodes: int) -> None:
    if engine == "sqlite":  # the same run in one process, which is all there is
        nodes = 0
    counts = simulate(seed, NODE_STEPS, nodes).counts
    for what in ("done", "replies repeated", "events", "checks"):
        assert counts[what] > 0, f"this run shows nothing about {what}"


@pytest.mark.sqlite  # of calls over real sockets the order is never the same
@pytest.mark.timeout(600)  # two processes that begin afresh
def test_a_run_is_the_same_whatever_the_order_of_sets() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3", "--steps", "30", "--trace"]
    played = [
        subprocess.run(
            command, cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert len(played[0].stdout) > 1_000
    assert played[0].stdout == played[1].stdout


@pytest.mark.sqlite  # shows what the run on a disk finds
def test_a_lost_reply_that_is_not_remembered_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def forget(*_args: object) -> None:
        pass

    monkeypatch.setattr(idempotency, "remember_reply", forget)
    assert main(["--seed", "1", "--steps", "20"]) == 1
    told = capsys.readouterr().out
    assert "replay it: make simulate SEED=1 STEPS=20" in told
    assert "it fails with fewer steps: make simulate SEED=1 STEPS=0" in told


@pytest.mark.sqlite  # is about no engine
def test_a_failing_run_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_from_seven_on(seed: int, steps: int) -> None:
        if steps >= 7:
            raise SimulationError(seed, steps, "a fault")

    monkeypatch.setattr(runs, "simulate", fail_from_seven_on)
    assert runs.shorten(1, 120) == 7


@pytest.mark.sqlite  # is about the loop alone
def test_a_wait_for_nothing_is_told_at_once() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with (
        pytest.raises(StandstillError),
        asyncio.Runner(loop_factory=lambda: SimulatedLoop(ManualClock(), 0)) as runner,
    ):
        runner.run(wait())


@pytest.mark.sqlite  # is about the loop alone
def test_time_and_threads_are_the_loops_own() -> None:
    clock = ManualClock()

    async def work() -> str:
        await asyncio.sleep(3_600)
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    before_ms = clock.now_ms()
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock, 0)) as runner:
        assert runner.run(work()) == threading.current_thread().name
    assert 3_600_000 <= clock.now_ms() - before_ms < 3_601_000
