"""What every test shares: the search for counterexamples, quick here and repeatable in CI."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from moothall.testing.postgres import drop_databases
from tests.servers.postgres import RUN_FOLDER, stop_shared, use_postgres

# A deadline per example would measure the machine. The whole test has a time limit instead.
settings.register_profile("local", deadline=None)
# In CI the same commit must give the same answer twice; a shared machine may be slow.
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# What all processes of one run share: the servers that they start (tests/servers).
_IS_CONTROLLER = RUN_FOLDER not in os.environ

_WORKERS_WAITING_MAX = 4
"""More on a large machine would only take memory, and connections of PostgreSQL."""

# No test may write into the keyring of whoever runs it.
os.environ["MOOTHALL_SECRETS"] = "file"

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Hundreds of programs are started, and each would compile all of its modules anew. Whoever
    # wants no compiled files beside the sources gets none: they lie in the environment.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.setdefault(
        "PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "pycache")
    )

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 4 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN
):
    # A hall syncs each commit, so that on a disk most of the time would be waiting for it. What
    # a sync is good for is shown on a simulated disk.
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # it may have been looked up already

if _IS_CONTROLLER:
    _run_folder = tempfile.mkdtemp(prefix="moothall-run-")
    os.environ[RUN_FOLDER] = _run_folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return how many processes `-n auto` means: many tests wait, above all the plays."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    processors = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return processors + min(processors, _WORKERS_WAITING_MAX)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that this run has started."""
    if _IS_CONTROLLER:
        stop_shared(Path(_run_folder))
        shutil.rmtree(_run_folder, ignore_errors=True)


# --- Both engines ---------------------------------------------------------------------------------

_ON_BOTH = ("tests/unit/services", "tests/conformance", "tests/plays", "tests/simulation")
"""Folders whose tests run on SQLite and on PostgreSQL, but for those that are marked `sqlite`."""

_HALLS = {
    "OpenHall", "open_test_hall", "open_site", "open_hall", "RunningHall", "StartHall", "hall",
    "administrator", "shared_hall", "start_hall", "simulate",
}  # fmt: skip
"""What a test imports or asks for that has to do with a hall; by one of these it is known."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person choose one engine."""
    parser.addoption("--engine", choices=["both", "sqlite", "postgres"], default="both")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what rests on a database on each of them."""
    folder = metafunc.definition.nodeid
    chosen = metafunc.config.getoption("--engine")
    needs_hall = not _HALLS.isdisjoint({*vars(metafunc.module), *metafunc.fixturenames})
    is_on_both = folder.startswith(_ON_BOTH) and needs_hall
    if not is_on_both or metafunc.definition.get_closest_marker("sqlite"):
        if chosen == "postgres":
            metafunc.parametrize("engine", [], indirect=True, scope="module")
        return
    engines = ["sqlite", "postgres"] if chosen == "both" else [chosen]
    metafunc.parametrize("engine", engines, indirect=True, scope="module")


@pytest.fixture(autouse=True, scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the halls of a test run on an engine."""
    chosen = getattr(request, "param", "sqlite")
    if chosen == "sqlite":
        yield chosen
        return
    with use_postgres():
        yield chosen


@pytest.fixture(autouse=True)
def _databases(engine: str) -> Iterator[None]:
    """Delete the databases of a test's halls at its end, or memory would fill with them."""
    yield
    if engine == "postgres":
        asyncio.run(drop_databases())
