"""Chance that a test can repeat."""

from moothall.testing import SeededEntropy


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    first = one.random_bytes(32)
    assert len(first) == 32
    assert first == same.random_bytes(32)
    assert first != other.random_bytes(32)
    assert first != one.random_bytes(32)
