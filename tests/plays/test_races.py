"""What must come out the same whoever is first: many hands at once, at all doors of one hall.

Connections are open before a race begins, so that all that is sent meets in the hall and not in
its handshakes. The moments are random and seeded; whatever they are, what is said here holds.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.testing import open_test_hall
from tests.conformance.doors_wire import (
    WAIT_S,
    Ask,
    EndedError,
    Outcome,
    Place,
    Speak,
    Speaker,
    ask_https,
    dial,
    encode_request,
    place_of,
    read_outcome,
    read_problem,
    read_reply,
    speak_lines,
    speak_socket,
)
from tests.conformance.http_wire import Wire, post
from tests.plays.conftest import PASSWORD, RunningHall, StartHall

SUBMIT = "leaderboards.submit_score"
ROUNDS = 20
COST_ROUNDS = 6
"""For what hashes passwords, which takes its time."""
HANDS = 4
"""At each door."""
SESSIONS_MAX = 4
SPREAD_S = 0.02
BURST = 12
"""Calls that a member sends over one connection without waiting."""
SAME_COMMIT_MS = 1_000
"""What shares a commit with a revocation was let in before it, and may stand behind it."""


class Member(NamedTuple):
    """Somebody, and what they hold."""

    name: str
    token: str
    member_id: str
    refresh_token: str


class Site(NamedTuple):
    """A hall, its administrator, and where its mail goes."""

    place: Place
    boss: Member
    mail: Path


Hand = Callable[[Ask], Awaitable[Outcome]]
"""Calls over a connection that is open."""


# --- people and connections -----------------------------------------------------------------------


async def does(place: Place, verb: str, who: Member | None = None, /, **request: Any) -> Any:
    """Call an action that must succeed."""
    token = None if who is None else who.token
    outcome = await ask_https(place, Ask(verb, msgspec.json.encode(request), token))
    assert not outcome.problem, outcome
    return outcome.result


async def sign_in(place: Place, name: str) -> Member:
    opened = await does(place, "identity.open_session", name=name, password=PASSWORD)
    tokens = opened["access_token"], opened["member_id"], opened["refresh_token"]
    return Member(name, *tokens)


async def join(place: Place, name: str) -> Member:
    await does(place, "identity.register", name=name, password=PASSWORD)
    return await sign_in(place, name)


@asynccontextmanager
async def open_hands(place: Place, count: int = HANDS) -> AsyncIterator[list[Hand]]:
    """Open so many connections at each of the three doors, and take turns among the doors."""
    async with AsyncExitStack() as stack:
        hands: list[Hand] = []
        for _ in range(count):
            reader, writer = await stack.enter_async_context(dial(place.web_port, place.trusting))
            hands.append(by_request(Wire(reader, writer)))
            socket = await stack.enter_async_context(speak_socket(place))
            line = await stack.enter_async_context(speak_lines(place))
            hands += [by_message(socket), by_message(line)]
        yield hands


def by_request(wire: Wire) -> Hand:
    async def ask(asked: Ask) -> Outcome:
        signed = [] if asked.token is None else [f"Authorization: Bearer {asked.token}"]
        async with asyncio.timeout(WAIT_S):
            answer = await wire.ask(post(asked.action, asked.body, *signed))
        if answer.status == 200:
            return Outcome(answer.json)
        return read_problem(answer.json)

    return ask


def by_message(speaker: Speaker) -> Hand:
    async def ask(asked: Ask) -> Outcome:
        if asked.token is not None:
            token = msgspec.json.encode({"token": asked.token})
            await speaker.send(encode_request(0, Ask("identity.authenticate", token)))
            signed = read_outcome(await read_reply(speaker))
            if signed.problem:
                return signed
        await speaker.send(encode_request(1, asked))
        return read_outcome(await read_reply(speaker))

    return ask


async def race(hands: Iterable[Hand], asked: Iterable[Ask], chance: random.Random) -> list[Outcome]:
    """Let each hand ask at a moment of its own, all within a few milliseconds."""

    async def run(hand: Hand, ask: Ask, after_s: float) -> Outcome:
        await asyncio.sleep(after_s)
        return await hand(ask)

    pairs = list(zip(hands, asked, strict=False))
    spread_s = chance.choice([0.0, SPREAD_S])
    return await asyncio.gather(*(run(*pair, chance.random() * spread_s) for pair in pairs))


def asks(action: str, count: int, who: Member | None = None, **request: Any) -> list[Ask]:
    token = None if who is None else who.token
    return [Ask(action, msgspec.json.encode(request), token)] * count


def names_of(outcomes: Iterable[Outcome]) -> Counter[str]:
    return Counter(one.name or "done" for one in outcomes)


async def furnish(running: RunningHall, mail: Path) -> Site:
    place = place_of(running)
    boss = await join(place, "boss")
    await does(place, "access.claim_administration", boss, secret=running.secret)
    board = {"name": "Kart", "direction": "descending", "board_id": "kart"}
    await does(place, "leaderboards.create_board", boss, **board, default_level="read")
    return Site(place, boss, mail)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,  # on each engine its own
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("races")
    mail = folder / "mail.jsonl"
    mail.touch()
    settings = folder / "moothall.toml"
    settings.write_text(
        "limits_scale = 1000.0\n"
        f"[sessions]\nper_member_max = {SESSIONS_MAX}\n"
        "[registration]\naccounts_per_source_hour_max = 100000\n"
        "messages_per_source_hour_max = 100000\n"
        f"[mail]\ncommand = {json.dumps(['sh', '-c', f'cat >> {mail}'])}\n"
    )
    running = RunningHall(folder / "hall", "--config", str(settings))
    yield asyncio.run(furnish(running, mail))
    running.stop()


# --- who is first ---------------------------------------------------------------------------------


@pytest.mark.requirement("R11")
async def test_of_those_who_know_the_secret_at_all_doors_exactly_one_wins(
    start_hall: StartHall, tmp_path: Path
) -> None:
    (tmp_path / "moothall.toml").write_text("limits_scale = 1000.0\n")
    running = await asyncio.to_thread(
        start_hall, "fresh", "--config", str(tmp_path / "moothall.toml")
    )
    place = place_of(running)
    people = [await join(place, f"member{number}") for number in range(3 * HANDS)]
    secret = msgspec.json.encode({"secret": running.secret})
    asked = [Ask("access.claim_administration", secret, person.token) for person in people]
    async with open_hands(place) as hands:
        outcomes = await race(hands, asked, random.Random(11))
    assert names_of(outcomes) == {"done": 1, "administration_claimed": len(people) - 1}
    held = [
        (await does(place, "access.check", one, permission="*"))["is_allowed"] for one in people
    ]
    assert held == [not one.problem for one in outcomes]


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("seed", range(COST_ROUNDS))
async def test_burst_at_all_doors_has_three_guesses_looked_at(site: Site, seed: int) -> None:
    name = f"guessed{seed}"
    await join(site.place, name)
    asked = asks("identity.open_session", 3 * HANDS, name=name, password="a wrong password")
    async with open_hands(site.place) as hands:
        outcomes = await race(hands, asked, random.Random(seed))
        assert names_of(outcomes) == {"wrong_credentials": 3, "account_locked": 3 * HANDS - 3}
        right = asks("identity.open_session", 3 * HANDS, name=name, password=PASSWORD)
        assert names_of(await race(hands, right, random.Random(seed))) == {
            "account_locked": 3 * HANDS
        }


@pytest.mark.requirement("R4")
@pytest.mark.requirement("R5")
async def test_one_refresh_token_at_all_doors_has_one_successor(site: Site) -> None:
    chance = random.Random(4)
    ada = await join(site.place, "refreshing")
    async with open_hands(site.place) as hands:
        newest = ada.refresh_token
        for _ in range(ROUNDS):
            asked = asks("identity.refresh_session", 3 * HANDS, refresh_token=newest)
            outcomes = await race(hands, asked, chance)
            assert names_of(outcomes) == {"done": 3 * HANDS}, "a lost reply may be asked for again"
            [successor] = {one.result["refresh_token"] for one in outcomes}
            assert successor != newest
            newest = successor


@pytest.mark.requirement("R12")
@pytest.mark.parametrize("seed", range(COST_ROUNDS))
async def test_sign_ins_at_all_doors_leave_as_many_sessions_as_may_be(
    site: Site, seed: int
) -> None:
    name = f"many{seed}"
    await does(site.place, "identity.register", name=name, password=PASSWORD)
    asked = asks("identity.open_session", 3 * HANDS, name=name, password=PASSWORD)
    async with open_hands(site.place) as hands:
        opened = await race(hands, asked, random.Random(seed))
        assert names_of(opened) == {"done": 3 * HANDS}
        mine = [Ask("identity.get_self", token=one.result["access_token"]) for one in opened]
        alive = [await hands[0](ask) for ask in mine]
    assert names_of(alive) == {"done": SESSIONS_MAX, "unauthenticated": 3 * HANDS - SESSIONS_MAX}


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", range(4))
async def test_of_those_who_verify_one_address_at_once_exactly_one_has_it(
    site: Site, seed: int
) -> None:
    chance, place, contact = random.Random(seed), site.place, f"box{seed}@example.org"
    asked = []
    for number in range(4):
        who = await join(place, f"contact{seed}{number}")
        await does(place, "identity.add_contact", who, contact=contact, password=PASSWORD)
        request = {"contact": contact, "code": newest_code(site.mail, contact)}
        asked.append(Ask("identity.verify_contact", msgspec.json.encode(request), who.token))
    async with open_hands(place, 2) as hands:
        outcomes = await race(chance.sample(hands, len(asked)), asked, chance)
    assert names_of(outcomes)["done"] == 1, outcomes
    owned = [await does(place, "identity.list_contacts", token_of(one)) for one in asked]
    assert sum(len(each["contacts"]) for each in owned) == 1


def newest_code(mail: Path, contact: str) -> str:
    messages = [json.loads(line) for line in mail.read_text().splitlines()]
    [*_, text] = [each["text"] for each in messages if contact in json.dumps(each)]
    found = re.search(r"\b[0-9]{8}\b", text)
    assert found is not None, text
    return found[0]


def token_of(ask: Ask) -> Member:
    assert ask.token is not None
    return Member("", ask.token, "", "")


@pytest.mark.requirement("R10")
async def test_budget_of_accounts_is_exact_however_many_come_at_once(
    start_hall: StartHall, tmp_path: Path
) -> None:
    budget = 5
    (tmp_path / "moothall.toml").write_text("limits_scale = 1000.0\n")
    options = ["--set", f"registration.accounts_per_source_hour_max={budget}"]
    config = ["--config", str(tmp_path / "moothall.toml")]
    running = await asyncio.to_thread(start_hall, "budget", *config, *options)
    place, chance = place_of(running), random.Random(10)
    asked = [
        asks("identity.register", 1, name=f"new{number}", password=PASSWORD)[0]
        for number in range(3 * HANDS)
    ]
    async with open_hands(place) as hands:
        assert names_of(await race(hands, asked, chance))["done"] == budget


# --- whoever loses something while they write -----------------------------------------------------


class Done(NamedTuple):
    """A row of the audit trail."""

    number: int
    at_ms: int


class Writer:
    """Somebody who sends scores over one connection without waiting for answers."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self.sent = 0
        self.outcomes: list[Outcome] = []

    async def write(self, count: int, chance: random.Random) -> None:
        try:
            for _ in range(count):
                self.sent += 1
                body = b'{"board_id":"kart","score":1}'
                await self._speaker.send(encode_request(self.sent, Ask(SUBMIT, body)))
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() * 0.002)
        except ConnectionError:
            return

    async def read(self) -> None:
        """Read until all is answered, or the hall closes."""
        try:
            while len(self.outcomes) < self.sent:
                self.outcomes.append(read_outcome(await read_reply(self._speaker)))
        except (EndedError, ConnectionError):
            return


async def write_while(
    site: Site, who: Member, deed: Callable[[], Awaitable[Any]], chance: random.Random
) -> list[Outcome]:
    """Let somebody write over both doors that stay while a deed is done; return the answers.

    After the deed is answered, each connection that is still open sends one more call.
    """
    async with AsyncExitStack() as stack:
        writers = []
        speaks: list[Speak] = [speak_socket, speak_lines]
        for speak in speaks:
            speaker = await stack.enter_async_context(speak(site.place))
            token = msgspec.json.encode({"token": who.token})
            await speaker.send(encode_request(0, Ask("identity.authenticate", token)))
            assert not read_outcome(await read_reply(speaker)).problem
            writers.append(Writer(speaker))

        async def do() -> None:
            await asyncio.sleep(chance.random() * SPREAD_S)
            await deed()

        await asyncio.gather(do(), *(each.write(BURST, chance) for each in writers))
        for each in writers:
            await each.read()
            answered = len(each.outcomes)
            await each.write(1, chance)
            async with asyncio.timeout(WAIT_S):
                await each.read()
            assert all(one.problem for one in each.outcomes[answered:]), "a call after the deed"
        return [one for each in writers for one in each.outcomes]


async def list_done(site: Site, who: Member, action: str) -> list[Done]:
    """Return what the audit trail says that somebody has done, in order."""
    fields = {"actor": who.member_id, "action": action, "outcome": "done", "limit": 500}
    listed = await does(site.place, "access.list_audit", site.boss, **fields)
    return [Done(row["number"], row["at_ms"]) for row in listed["entries"]]


async def set_level(site: Site, who: Member, level: str) -> None:
    fields = {"board_id": "kart", "member": who.name, "level": level}
    await does(site.place, "leaderboards.set_level", site.boss, **fields)


@pytest.mark.requirement("R22")
async def test_a_level_that_is_taken_away_is_gone_with_its_commit(site: Site) -> None:
    chance, counts = random.Random(22), Counter[str]()
    for number in range(ROUNDS):
        ann = await join(site.place, f"levels{number}")
        await set_level(site, ann, "write")

        async def take_away(who: Member = ann) -> None:
            await set_level(site, who, "none")

        outcomes = await write_while(site, ann, take_away, chance)
        counts += names_of(outcomes)
        done = await list_done(site, ann, SUBMIT)
        assert len(done) == names_of(outcomes)["done"], "what is answered is done, and no more"
        [*_, revoked] = await list_done(site, site.boss, "leaderboards.set_level")
        assert all(one.at_ms <= revoked.at_ms + SAME_COMMIT_MS for one in done), (number, revoked)
    assert counts["done"], counts
    assert counts["permission_denied"] + counts["board_not_found"] > ROUNDS, counts


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("action", ["identity.remove_member", "identity.revoke_sessions_of"])
async def test_whoever_is_sent_away_while_they_write_writes_nothing_more(
    site: Site, action: str
) -> None:
    chance, counts = random.Random(5), Counter[str]()
    for number in range(ROUNDS):
        ann = await join(site.place, f"{action.partition('.')[2][:6]}{number}")
        await set_level(site, ann, "write")

        async def send_away(who: Member = ann) -> None:
            await does(site.place, action, site.boss, member=who.name)

        outcomes = await write_while(site, ann, send_away, chance)
        counts += names_of(outcomes)
        late = await ask_https(site.place, Ask("identity.get_self", token=ann.token))
        assert late.name == "unauthenticated"
        done = await list_done(site, ann, SUBMIT)
        assert len(done) >= names_of(outcomes)["done"], "what was answered is there"
        [*_, gone] = await list_done(site, site.boss, action)
        # What was in the same commit had been let in before it.
        assert all(one.at_ms <= gone.at_ms + SAME_COMMIT_MS for one in done), (number, done, gone)
    assert counts["done"], counts


@pytest.mark.requirement("R5")
async def test_a_call_that_has_waited_longer_than_its_session_is_refused(tmp_path: Path) -> None:
    """A batch has 256 calls; those behind it run when the session has ended."""
    async with open_test_hall(tmp_path) as hall:
        boss, ann = await hall.administrator("boss"), await hall.member("ann")
        phone = await hall.sign_in("ann")
        board = {"board_id": "kart", "name": "Kart", "direction": "descending"}
        await hall.call("leaderboards.create_board", {**board, "default_level": "write"}, as_=boss)
        score = {"board_id": "kart", "score": 1}
        revoke = hall.answer(
            "identity.revoke_session", {"session_id": ann.session_id}, token=phone.token
        )
        waiting = [hall.answer(SUBMIT, score, token=ann.token) for _ in range(600)]
        revoked, *replies = await asyncio.gather(revoke, *waiting)
        assert revoked.problem is None
        names = Counter("done" if one.problem is None else one.problem.name for one in replies)
        assert set(names) == {"done", "unauthenticated"}
        assert names["done"] < SqliteBounds().batch_calls_max, names
