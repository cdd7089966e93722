"""What every test shares: the search for counterexamples, quick here and repeatable in CI."""

import os

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
