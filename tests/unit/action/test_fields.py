"""Shared field types: their bounds are part of the API."""

from typing import Any

import msgspec
import pytest

from moothall.action import Id, Name, ResourcePath, SafeInteger, Secret, Slug, Text, TimeMs
from moothall.core.paths import is_path


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Id, ["7", "a.b:c-d_e", "A" * 128], ["", "-a", "a/b", "a b", "é", "a\n", "A" * 129]),
        (Slug, ["a", "a-b", "9" * 64], ["", "-a", "a-", "A", "a_b", "a\n", "9" * 65]),
        (Name, ["x", "é" * 64], ["", "x" * 65]),
        (Text, ["", "x" * 4_000], ["x" * 4_001]),
        (Secret, ["x", "x" * 1_024], ["", "x" * 1_025]),
        (
            ResourcePath,
            ["", "board/7", "a/b/c/d/e/f/g/h"],
            ["/", "a/", "/a", "a//b", "a/../b", "board/7\n", "a/b/c/d/e/f/g/h/i"],
        ),
        (SafeInteger, [0, 2**53 - 1, 1 - 2**53], [2**53, -(2**53), 1.5, True, "1"]),
        (TimeMs, [0, 2**53 - 1], [-1, 2**53]),
    ],
)
def test_bounds(kind: Any, good: list[Any], bad: list[Any]) -> None:
    decoder = msgspec.json.Decoder(kind)
    for value in good:
        assert decoder.decode(msgspec.json.encode(value)) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("text", ["", "a", "a/b", "a//b", "a/", "..", "a\n", "a b", "é/a", "a/-b"])
def test_resource_paths_are_those_of_the_vocabulary(text: str) -> None:
    try:
        msgspec.convert(text, ResourcePath)
    except msgspec.ValidationError:
        assert not is_path(text)
    else:
        assert is_path(text)
