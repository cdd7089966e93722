"""``python -m bench.access``: what a check of a permission costs, in one process, without a hall.

Fills the index with 10,000 members, 100,000 bindings of theirs, teams and bans, and asks
about each case many times over, each time about another member, as calls do. Beside the
cases stands a yardstick: a lookup in a dictionary of as many members, asked the same way.

Figures are nanoseconds per check, the asking loop left out: the best of the rounds (the
machine left alone), then the median.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from time import perf_counter_ns

from moothall.action import EVERYONE
from moothall.services.access.model import Held
from moothall.services.access.rules.index import BindingIndex

BINDINGS_PER_MEMBER = 10
BOARDS = 2_000
TEAMS = 100
ASKED_PER_ROUND = 20_000

Question = tuple[str, str, str]


def member_id(number: int) -> str:
    """Return an id of the form that members have."""
    return f"{number:024x}"


def fill(members: int) -> BindingIndex:
    """Return an index as a large hall would have it; the same each time.

    Member ``n`` writes at ten boards. The second quarter belongs to three teams each, the
    third to one; every hundredth of the last quarter is banned at one board. As many more hold
    nothing.
    """
    chance = random.Random(1)
    index = BindingIndex(lambda: 0, sys.maxsize)
    index.define("member", ("sessions:own", "members:read", "boards:list"))
    index.define("board_reader", ("scores:read",))
    index.define("board_writer", ("scores:read", "scores:write"))
    index.define("board_moderator", ("scores:read", "scores:write", "scores:moderate"))
    index.bind(EVERYONE, "member", "")
    for board in range(BOARDS):
        index.bind(EVERYONE, "board_reader", f"board/{board}")
    for team in range(TEAMS):
        index.bind(f"team:{team}", "board_moderator", f"board/{team}")
    quarter = members // 4
    for number in range(members):
        boards = chance.sample(range(BOARDS), BINDINGS_PER_MEMBER - 1)
        places = [*(f"board/{board}" for board in boards), f"own/{number}"]
        team_count = (0, 3, 1, 0, 0)[number // quarter]
        is_banned = number >= 3 * quarter and (number - 3 * quarter) % 100 == 0
        remember(
            index,
            number,
            Held(
                bindings=tuple(("board_writer", place) for place in places),
                teams=tuple(f"{(number + step) % TEAMS}" for step in range(team_count)),
                bans={"board/0": None} if is_banned else {},
            ),
        )
    for stranger in range(members, 2 * members):
        remember(index, stranger, Held())
    return index


def remember(index: BindingIndex, number: int, held: Held) -> None:
    """Take into memory what a member holds, as their first call does."""
    member = member_id(number)
    index.insert(member, index.begin_reading(member), held)
    index.release(member)


def cases(members: int) -> dict[str, tuple[bool, list[Question]]]:
    """Return the expected answer and the questions of each case."""
    chance = random.Random(2)
    quarter = members // 4
    plain = [chance.randrange(quarter) for _ in range(ASKED_PER_ROUND)]
    teams3 = [quarter + chance.randrange(quarter) for _ in range(ASKED_PER_ROUND)]
    team1 = [2 * quarter + chance.randrange(quarter) for _ in range(ASKED_PER_ROUND)]
    banned = [3 * quarter + 100 * chance.randrange(quarter // 100) for _ in plain]
    board = [f"board/{chance.randrange(BOARDS)}" for _ in plain]
    write, read = "scores:write", "scores:read"
    return {
        "direct": (True, [(member_id(n), write, f"own/{n}") for n in plain]),
        "everyone, in the hall": (True, [(member_id(n), "boards:list", "") for n in plain]),
        "everyone, at a board": (
            True,
            [(member_id(n), read, at) for n, at in zip(plain, board, strict=True)],
        ),
        "stranger, everyone": (
            True,
            [(member_id(members + n), read, at) for n, at in zip(plain, board, strict=True)],
        ),
        "team": (True, [(member_id(n), "scores:moderate", f"board/{n % TEAMS}") for n in team1]),
        "team, the last of three": (
            True,
            [(member_id(n), "scores:moderate", f"board/{(n + 2) % TEAMS}") for n in teams3],
        ),
        "denied": (
            False,
            [(member_id(n), "roles:grant", at) for n, at in zip(plain, board, strict=True)],
        ),
        "denied, in three teams": (
            False,
            [(member_id(n), "roles:grant", at) for n, at in zip(teams3, board, strict=True)],
        ),
        "banned there": (False, [(member_id(n), read, "board/0") for n in banned]),
        "banned elsewhere": (True, [(member_id(n), read, "board/1") for n in banned]),
    }


def measure(
    ask: Callable[[str, str, str], object], questions: Sequence[Question], rounds: int
) -> list[float]:
    """Return nanoseconds per question of each round, the loop left out."""
    figures = []
    for _ in range(rounds):
        start = perf_counter_ns()
        for who, permission, path in questions:
            ask(who, permission, path)
        middle = perf_counter_ns()
        for _who, _permission, _path in questions:
            pass
        loop = perf_counter_ns() - middle
        figures.append((middle - start - loop) / len(questions))
    return figures


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(prog="bench.access", description=__doc__)
    parser.add_argument("--members", type=int, default=10_000, help="at least 400")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    members, rounds = max(400, arguments.members), arguments.rounds
    index = fill(members)
    print(f"{members:,} members, {members * BINDINGS_PER_MEMBER:,} bindings of theirs")
    print(f"{'case':<26}{'best ns':>9}{'median ns':>11}")
    by_id = {member_id(number): number for number in range(members)}
    found = {"(lookup in a dictionary)": (lambda who, *_: by_id.get(who), cases(members)["direct"])}
    found |= {name: (index.allows, one) for name, one in cases(members).items()}
    for name, (ask, (expected, questions)) in found.items():
        if ask == index.allows and any(ask(*one) is not expected for one in questions):
            msg = f"{name}: an answer is wrong"
            raise SystemExit(msg)
        figures = measure(ask, questions, rounds)
        print(f"{name:<26}{min(figures):>9.0f}{statistics.median(figures):>11.0f}")


if __name__ == "__main__":
    main()
