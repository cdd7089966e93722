"""The log never fails those who write to it."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from moothall.app.log import configure_log


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    before = structlog.get_config() if structlog.is_configured() else None
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.requirement("R36")
def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer tells that writes are refused; a hall whose disk is untrue says so and ends."""
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - closing it fails
    try:
        # Not in a fixture: pytest takes standard error for itself before the test begins.
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", full)
            configure_log("info")
            for _ in range(1_000):
                structlog.get_logger("test").error("writes are refused", error="the disk is full")
    finally:
        with contextlib.suppress(OSError):
            full.close()
