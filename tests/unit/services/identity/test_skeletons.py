"""The table behind look-alike names, read by a decoder of our own, says what the library says."""

from confusable_homoglyphs.confusables import (  # type: ignore[import-untyped] # it has no types
    confusables_data,
)

from moothall.services.identity.rules.names import _prototypes

DIRECTIONS = str.maketrans("", "", "\u200e\u200f")


def test_each_character_looks_like_what_the_library_says() -> None:
    looks = _prototypes()
    assert len(looks) > 6_000
    assert [looks[ord(one)] for one in "1m\N{CYRILLIC SMALL LETTER A}"] == ["l", "rn", "a"]
    told = {one.translate(DIRECTIONS): others for one, others in confusables_data.items()}
    for code, prototype in looks.items():
        (only,) = told[chr(code)]
        assert only["c"].translate(DIRECTIONS).translate(looks) == prototype
