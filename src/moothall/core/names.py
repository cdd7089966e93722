"""Names: from Python's spelling to the wire's and the command line's, and near matches."""

import difflib
from collections.abc import Iterable

NEAR_MATCHES_MAX = 3


def near_matches(word: str, known: Iterable[str]) -> list[str]:
    """Return at most three of ``known`` that ``word`` may have meant, best first."""
    return difflib.get_close_matches(word[:128], known, n=NEAR_MATCHES_MAX, cutoff=0.6)


def singular(noun: str) -> str:
    """Return the singular of an English noun as action names use them."""
    if noun.endswith("ies"):
        return noun.removesuffix("ies") + "y"
    if noun.endswith("ses"):
        return noun.removesuffix("es")
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun.removesuffix("s")
    return noun


def command_words(room: str, verb_noun: str) -> tuple[str, str]:
    """Return noun and verb of the command for an action.

    ``leaderboards.submit_score`` is ``score submit``, ``list_entries`` is ``entry
    list``; a verb that stands alone takes the room as its noun: ``access explain``.
    """
    verb, _, noun = verb_noun.partition("_")
    return (singular(noun).replace("_", "-") if noun else room, verb)
