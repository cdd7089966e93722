"""Names, passwords and refresh tokens: what is decided about them, without a hall."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.errors import InvalidArgumentError
from moothall.services.identity.model import Member, Session
from moothall.services.identity.rules.names import check_name, find_key
from moothall.services.identity.rules.sessions import (
    REFRESH_GRACE_MS,
    RefreshToken,
    Rotation,
    decide_rotation,
)

NOW_MS = 1_800_000_000_000


def key_of(name: str) -> str:
    return check_name(name)[1]


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("alice", "ａｌｉｃｅ"),  # noqa: RUF001 - full-width letters are the matter of the test
        ("José", "Jose\N{COMBINING ACUTE ACCENT}"),
        ("Müller", "MÜLLER"),
        ("straße", "STRAẞE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("İstanbul", "i\N{COMBINING DOT ABOVE}stanbul"),
        ("Mary Ann", "  mary   ann "),
    ],
)
def test_spellings_of_one_name_are_one_name(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(("one", "other"), [("strasse", "straße"), ("ab", "a b"), ("a.b", "a_b")])
def test_other_letters_are_another_name(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "name",
    ["O'Brien", "jean-luc", "x", "3", "שלום", "नमस्ते", "தமிழ்", "สวัสดี", "한글", "日本", "Zoë"],
)
def test_name_keeps_the_look_that_its_owner_gave_it(name: str) -> None:
    assert check_name(name)[0] == unicodedata.normalize("NFC", name)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the name is empty"),
        ("   ", "the name is empty"),
        ("everyone", "this name is reserved"),
        ("Everyone", "this name is reserved"),
        ("ＥＶＥＲＹＯＮＥ", "this name is reserved"),  # noqa: RUF001 - full-width letters
        ("room", "this name is reserved"),
        ("room:identity", "a name holds no '/' and no ':'"),
        ("a/b", "a name holds no '/' and no ':'"),
        ("0123456789abcdef01234567", "this name is reserved"),
        ("0123456789ABCDEF01234567", "this name is reserved"),
        ("-rf", "a name begins and ends with a letter or digit"),
        ("..", "a name begins and ends with a letter or digit"),
        ("*", "a name begins and ends with a letter or digit"),
        ("क्\N{ZERO WIDTH JOINER}ष", "a name holds nothing invisible"),
        *[
            (f"a{strange}b", "the name has a character that a name cannot hold")
            for strange in (
                "\N{NO-BREAK SPACE}",
                "\N{IDEOGRAPHIC SPACE}",
                "\N{ZERO WIDTH SPACE}",
                "\N{ZERO WIDTH NO-BREAK SPACE}",
                "\N{RIGHT-TO-LEFT OVERRIDE}",
                "\N{SOFT HYPHEN}",
                "\t",
                "\n",
                "\0",
                "\x1b",
                "\ufb01",
                "\N{GRINNING FACE}",
                "שלום",  # two directions in one word
            )
        ],
    ],
)
def test_name_that_cannot_be_had_is_refused_with_field_and_remedy(name: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_name(name, "submitter")
    assert refusal.value.details["field"] == "submitter"
    assert refusal.value.details["reason"] == reason
    assert refusal.value.details["remedy"]
    assert find_key(name) is None


@pytest.mark.requirement("R6")
def test_length_of_a_name_is_counted_in_characters_once_it_is_normalised() -> None:
    decomposed = "e\N{COMBINING ACUTE ACCENT}" * 32
    assert check_name(decomposed)[0] == "é" * 32
    with pytest.raises(InvalidArgumentError, match="at most 32"):
        check_name("é" * 33)


@pytest.mark.requirement("R6")
@given(st.text(max_size=40))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    if find_key(text) is None:
        with pytest.raises(InvalidArgumentError):
            check_name(text)
        return
    shown, key = check_name(text)
    assert 1 <= len(shown) <= 32
    assert check_name(shown) == (shown, key)
    assert key_of(key) == key


def session_at(generation: int, rotated_at_ms: int = NOW_MS) -> Session:
    member = Member(member_id="0" * 24, name="alice", created_at_ms=0)
    end_ms = NOW_MS + 1_000_000
    return Session("s", member, generation, rotated_at_ms, end_ms, None, end_ms)


@pytest.mark.requirement("R1")
@pytest.mark.parametrize(
    ("used", "after_ms", "decision"),
    [
        (5, 0, Rotation.ROTATE),
        (4, 0, Rotation.REPEAT),
        (4, REFRESH_GRACE_MS, Rotation.REPEAT),
        (4, -REFRESH_GRACE_MS, Rotation.REPEAT),
        (4, REFRESH_GRACE_MS + 1, Rotation.END),
        (4, -REFRESH_GRACE_MS - 1, Rotation.END),
        (3, 0, Rotation.END),
        (1, 0, Rotation.END),
        (6, 0, Rotation.END),
        (5, 1_000_000, Rotation.REFUSE),
    ],
)
def test_refresh_token_is_rotated_repeated_or_ends_the_session(
    used: int, after_ms: int, decision: Rotation
) -> None:
    token = RefreshToken("s", used)
    assert decide_rotation(session_at(5), token, NOW_MS + after_ms) is decision


@pytest.mark.requirement("R1")
def test_refresh_token_of_no_session_is_refused() -> None:
    assert decide_rotation(None, RefreshToken("s", 1), NOW_MS) is Rotation.REFUSE
