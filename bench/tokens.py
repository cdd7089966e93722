"""What tokens cost: ``python -m bench.tokens``.

Signing one, verifying one that was never seen (the signature), one that is remembered (what
nearly every call pays), and one that is forged. Beside them the yardstick: the signature
alone, as the library underneath makes and verifies it. No hall is started.

A row is the fastest and the middle one of several rounds, because whatever else the machine
does can only make a round slower.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.report import this_machine
from moothall.action.token import TokenVerifier, sign_token
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.errors import UnauthenticatedError
from moothall.core.units import DAY_MS
from moothall.services.identity.adapters.keys import SealedKeyRing
from moothall.services.identity.adapters.sessions import EndedSessions

NAME = "https://hall.example"
ROUNDS = 7
TOKENS = 256


class Scene:
    """A verifier with its ring of one key, and tokens to verify."""

    def __init__(self) -> None:
        clock = SystemClock()
        ring = SealedKeyRing(bytes(32), SystemEntropy(), clock)
        ring._add(*ring.make(0, 0))  # noqa: SLF001 - as if it were loaded; there are no rows here
        self.now_ms, self.ring = clock.now_ms(), ring
        self.verifier = TokenVerifier(ring, EndedSessions(clock), clock, issuer=NAME, audience=NAME)
        self.tokens = [self.sign(number) for number in range(TOKENS)]
        self.forged = [f"{token[:-8]}AAAAAAAA" for token in self.tokens]
        self.private = Ed25519PrivateKey.generate()
        self.text = self.tokens[0].encode()
        self.signature = self.private.sign(self.text)
        self.public = self.private.public_key()

    def sign(self, number: int) -> str:
        """Sign a token as the hall does."""
        token, _ = sign_token(
            self.ring,
            issuer=NAME,
            audience=NAME,
            member_id="m" * 24,
            session_id=f"{number:024}",
            session_expires_at_ms=self.now_ms + DAY_MS,
            token_id=f"{number:024}",
            now_ms=self.now_ms,
        )
        return token

    def verify_cold(self, number: int) -> None:
        """Verify a token that is not remembered."""
        self.verifier.forget_all()
        self.verifier.verify(self.tokens[number % TOKENS])

    def verify_remembered(self, number: int) -> None:
        """Verify a token that was verified before; they take turns, as callers do."""
        self.verifier.verify(self.tokens[number % TOKENS])

    def refuse(self, number: int) -> None:
        """Refuse a token whose signature was altered."""
        try:
            self.verifier.verify(self.forged[number % TOKENS])
        except UnauthenticatedError:
            return
        msg = "a forged token was taken"
        raise AssertionError(msg)

    def sign_bare(self, _number: int) -> None:
        """Yardstick: the signature alone."""
        self.private.sign(self.text)

    def verify_bare(self, _number: int) -> None:
        """Yardstick: the signature alone."""
        self.public.verify(self.signature, self.text)


def time_rounds(deed: Callable[[int], object], seconds: float) -> list[float]:
    """Return nanoseconds per call, one value a round, the fastest first."""
    count, spent = 1, 0.0
    while spent < seconds / ROUNDS / 4:  # so many calls that the clock itself costs nothing
        count *= 2
        spent = _time(deed, count)
    count = max(1, round(count * seconds / ROUNDS / spent))
    return sorted(_time(deed, count) / count * 1e9 for _ in range(ROUNDS))


def _time(deed: Callable[[int], object], count: int) -> float:
    """Return how many seconds ``count`` calls take."""
    start = time.perf_counter()
    for number in range(count):
        deed(number)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row (1)")
    seconds = parser.parse_args().seconds
    scene, machine = Scene(), this_machine()
    for token in scene.tokens:
        scene.verifier.verify(token)
    deeds = {
        "verify, remembered": scene.verify_remembered,
        "verify, never seen": scene.verify_cold,
        "verify, forged": scene.refuse,
        "sign": scene.sign,
        "yardstick: verify the signature": scene.verify_bare,
        "yardstick: sign": scene.sign_bare,
    }
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}\n"
    )
    print(f"{'':34}{'fastest':>12}{'middle':>12}{'calls/s':>12}")
    for name, deed in deeds.items():
        rounds = time_rounds(deed, seconds)
        middle = statistics.median(rounds)
        print(f"{name:34}{rounds[0]:>9,.0f} ns{middle:>9,.0f} ns{1e9 / middle:>12,.0f}")


if __name__ == "__main__":
    main()
