"""Names of commands and request types, and near matches."""

import pytest

from moothall.core.names import command_words, near_matches, singular


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("leaderboards.submit_score", ("score", "submit")),
        ("leaderboards.list_entries", ("entry", "list")),
        ("access.explain", ("access", "explain")),
        ("identity.get_self", ("self", "get")),
        ("files.list_file_uploads", ("file-upload", "list")),
        ("people.list_addresses", ("address", "list")),
        ("people.show_class", ("class", "show")),
    ],
)
def test_commands_are_noun_and_verb(action: str, words: tuple[str, str]) -> None:
    room, _, verb_noun = action.partition(".")
    assert command_words(room, verb_noun) == words


def test_singular() -> None:
    nouns = ("entries", "boards", "classes", "class", "news")
    assert [singular(noun) for noun in nouns] == ["entry", "board", "class", "class", "new"]


@pytest.mark.requirement("R41")
def test_near_matches_are_few_and_best_first() -> None:
    known = ["hall.ping", "hall.pong", "hall.pings", "hall.pin", "identity.register"]
    assert near_matches("hall.ping", known)[0] == "hall.ping"
    assert len(near_matches("hall.pin", known)) == 3
    assert near_matches("zzz", known) == []


def test_a_monstrous_word_costs_little() -> None:
    assert near_matches("x" * 1_000_000, ["hall.ping"]) == []
