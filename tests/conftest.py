"""What every test shares: the search for counterexamples, quick here and repeatable in CI."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# A deadline per example would measure the machine. The whole test has a time limit instead.
settings.register_profile("local", deadline=None)
# In CI the same commit must give the same answer twice; a shared machine may be slow.
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "local")

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
