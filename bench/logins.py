"""Signing in: how near it comes to what Argon2id allows, and what others feel meanwhile.

``python -m bench.logins`` measures the bare hash at the hall's own cost on all cores, then
starts a hall and signs members in on eight connections, alone and while eight others ping as
fast as they can. Those take their share of the processor, as does the load generator.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from argon2 import PasswordHasher

from bench import load
from bench.hall import Hall, serve, sign_in
from moothall.services.identity.adapters.hashing import (
    HASH_LANES,
    HASH_MEMORY_KIB,
    HASH_PASSES,
)

MEMBERS = 8
LOGIN_CONNECTIONS = 8
PING_CONNECTIONS = 8


def bare_hashes_per_s(seconds: float) -> float:
    """Return how many passwords a second this machine can verify with nothing else to do."""
    hasher = PasswordHasher(HASH_PASSES, HASH_MEMORY_KIB, HASH_LANES)
    known = hasher.hash("a password")
    end = time.perf_counter() + seconds

    def verify() -> int:
        count = 0
        while time.perf_counter() < end:
            hasher.verify(known, "a password")
            count += 1
        return count

    workers = os.cpu_count() or 1
    began_at = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        counts = [pool.submit(verify) for _ in range(workers)]
        done = sum(count.result() for count in counts)
    return done / (time.perf_counter() - began_at)


def request_of(action: str, fields: object) -> str:
    """Return a whole HTTP request."""
    body = json.dumps(fields)
    return (
        f"POST /v1/{action} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


def plan(hall: Hall, connections: int, seconds: float, requests: list[str]) -> load.Plan:
    """Return a plan in which each connection repeats one of ``requests``."""
    return load.Plan(
        ports=[hall.port],
        tls=False,
        connections=connections,
        warmup_s=0.5,
        seconds=seconds,
        server_pids=[hall.pid],
        scripts=[[request] for request in requests],
    )


def measure(program: Path, folder: Path, seconds: float) -> list[tuple[str, load.Outcome]]:
    """Return what was seen: pings alone, logins alone, and both beside each other."""
    with serve(program, folder, tls=False) as (hall, _):
        members = [sign_in(hall, f"member-{number}") for number in range(MEMBERS)]
        hall.hang_up()
        ping = [request_of("hall.ping", {})]
        logins = [
            request_of("identity.open_session", {"name": one.name, "password": one.password})
            for one in members
        ]
        pings = load.run(plan(hall, PING_CONNECTIONS, seconds, ping))
        alone = load.run(plan(hall, LOGIN_CONNECTIONS, seconds, logins))
        with ThreadPoolExecutor(2) as pool:
            signing = pool.submit(load.run, plan(hall, LOGIN_CONNECTIONS, seconds, logins))
            pinging = pool.submit(load.run, plan(hall, PING_CONNECTIONS, seconds, ping))
            return [
                ("ping alone", pings),
                ("login alone", alone),
                ("login beside pings", signing.result()),
                ("ping beside logins", pinging.result()),
            ]


def main() -> int:
    """Parse the arguments, run, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each part runs (5)")
    seconds = parser.parse_args().seconds
    program = Path(sys.executable).with_name("moothall")
    bare = bare_hashes_per_s(seconds)
    with tempfile.TemporaryDirectory(prefix="moothall-bench-") as folder:
        seen = measure(program, Path(folder) / "hall", seconds)
    print(f"bare Argon2id    {bare:10.1f}/s on {os.cpu_count()} cores")
    for name, outcome in seen:
        ratio = f"  {outcome.calls_per_s / bare:.2f} of bare" if name.startswith("login") else ""
        print(
            f"{name:18s} {outcome.calls_per_s:8.1f}/s  p50 {outcome.p50_ms:7.2f} ms"
            f"  p99 {outcome.p99_ms:7.2f} ms  failures {outcome.failures}{ratio}"
        )
    failures = sum(outcome.failures for _, outcome in seen)
    if failures:
        print(next(outcome.first_failure for _, outcome in seen if outcome.failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
