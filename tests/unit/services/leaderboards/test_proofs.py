"""Proofs: who adds, reads and removes them, and what becomes of their files."""

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.core.errors import InvalidArgumentError
from moothall.services.leaderboards.rules import choose_proof_name
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall

DATA = bytes(range(256)) * 8
SHA256 = hashlib.sha256(DATA).hexdigest()


class Scene:
    """A board that everybody may write to, with an entry of ann's that waits."""

    def __init__(self, hall: OpenHall, people: dict[str, Visitor]) -> None:
        self.hall = hall
        self.people = people
        self.entry_id = ""

    async def call(self, who: str, action: str, **request: Any) -> Any:
        room = action if "." in action else f"leaderboards.{action}"
        return await self.hall.call(room, request, as_=self.people[who])

    async def refusal(self, who: str, action: str, **request: Any) -> str:
        with pytest.raises(ProblemError) as refused:
            await self.call(who, action, **request)
        return refused.value.name

    async def upload(self, who: str, data: bytes = DATA) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        chunk = {
            "sha256": sha256,
            "offset": 0,
            "data": b64encode(data).decode(),
            "size_bytes": len(data),
        }
        await self.hall.call("files.put_chunk", msgspec.json.encode(chunk), as_=self.people[who])
        return sha256

    async def submit(self, who: str = "ann", board_id: str = "kart") -> str:
        return str((await self.call(who, "submit_score", board_id=board_id, score=1.0)).entry_id)

    async def add(self, who: str = "ann", name: str = "finish.png", **more: Any) -> Any:
        fields = {"entry_id": self.entry_id, "sha256": SHA256, "name": name} | more
        return await self.call(who, "add_proof", **fields)

    async def readers(self) -> set[str]:
        """Return who may read the file, having found that both ways to it agree."""
        found = set()
        for name, person in self.people.items():
            replies = [
                await self.hall.answer(f"files.{one}", {"sha256": SHA256}, token=person.token)
                for one in ("get_file", "get_chunk")
            ]
            names = {None if one.problem is None else one.problem.name for one in replies}
            assert names in ({None}, {"no_such_file"})
            found |= {name} if names == {None} else set()
        return found

    async def listers(self) -> set[str]:
        """Return who sees the list of proofs."""
        found = set()
        for name, person in self.people.items():
            reply = await self.hall.answer(
                "leaderboards.list_proofs", {"entry_id": self.entry_id}, token=person.token
            )
            found |= {name} if reply.problem is None else set()
        return found


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        people = {"boss": boss}
        for name in ("ann", "bob", "mod", "out"):
            people[name] = await hall.member(name)
        made = Scene(hall, people)
        board = {"name": "Kart", "direction": "ascending", "default_level": "none"}
        await made.call("boss", "create_board", **board)
        levels = {"ann": "board_writer", "bob": "board_writer", "mod": "board_moderator"}
        for name, role in levels.items():
            await made.call("boss", "access.grant_role", member=name, role=role, at="board/kart")
        made.entry_id = await made.submit()
        yield made


@pytest.mark.requirement("R57")
async def test_submitter_and_moderators_read_and_others_once_it_is_verified(scene: Scene) -> None:
    await scene.upload("ann")
    assert await scene.readers() == {"ann"}
    proof = await scene.add(media_type="image/png")
    assert (proof.name, proof.media_type, proof.size_bytes) == (
        "finish.png",
        "image/png",
        len(DATA),
    )
    waiting = {"ann", "mod", "boss"}
    assert await scene.readers() == await scene.listers() == waiting
    await scene.call("mod", "verify_entry", entry_id=scene.entry_id)
    assert await scene.readers() == await scene.listers() == waiting | {"bob"}
    [listed] = (await scene.call("bob", "list_proofs", entry_id=scene.entry_id)).proofs
    assert listed == proof == await scene.call("bob", "get_proof", proof_id=proof.proof_id)
    assert (await scene.call("bob", "get_entry", entry_id=scene.entry_id)).proofs == 1
    await scene.call("mod", "unverify_entry", entry_id=scene.entry_id)
    assert await scene.readers() == await scene.listers() == waiting


@pytest.mark.requirement("R57")
async def test_proof_of_a_verified_entry_is_read_at_once(scene: Scene) -> None:
    await scene.call("mod", "verify_entry", entry_id=scene.entry_id)
    await scene.upload("ann")
    await scene.add()
    assert await scene.readers() == {"ann", "bob", "mod", "boss"}


@pytest.mark.requirement("R57")
async def test_only_the_submitter_adds_and_only_what_they_uploaded(scene: Scene) -> None:
    await scene.upload("ann")
    await scene.upload("mod")
    fields = {"entry_id": scene.entry_id, "sha256": SHA256, "name": "x"}
    assert await scene.refusal("mod", "add_proof", **fields) == "not_submitter"
    assert await scene.refusal("boss", "add_proof", **fields) == "not_submitter"
    # Whoever may not see the entry learns no more than of one that does not exist.
    for who in ("bob", "out"):
        hidden = await scene.refusal(who, "add_proof", **fields)
        assert hidden == await scene.refusal(who, "add_proof", **fields | {"entry_id": "none"})
        assert hidden == "permission_denied"
    own = await scene.submit("bob")
    # Bob knows the hash, and nothing comes of it.
    stolen = await scene.refusal("bob", "add_proof", **fields | {"entry_id": own})
    assert stolen == "no_such_file"
    assert await scene.hall.rows("SELECT * FROM files_hold") == []


@pytest.mark.requirement("R57")
@pytest.mark.parametrize(
    ("who", "is_verified", "refusal"),
    [
        ("ann", False, None),
        ("ann", True, None),
        ("mod", False, None),
        ("mod", True, None),
        ("bob", False, "permission_denied"),
        ("bob", True, "not_submitter"),
        ("out", True, "permission_denied"),
    ],
)
async def test_submitter_or_moderator_removes(
    scene: Scene, who: str, refusal: str | None, *, is_verified: bool
) -> None:
    await scene.upload("ann")
    proof = await scene.add()
    if is_verified:
        await scene.call("mod", "verify_entry", entry_id=scene.entry_id)
    if refusal is not None:
        assert await scene.refusal(who, "remove_proof", proof_id=proof.proof_id) == refusal
        assert "mod" in await scene.readers()
        return
    await scene.call(who, "remove_proof", proof_id=proof.proof_id)
    assert await scene.readers() == {"ann"}
    assert await scene.refusal("boss", "get_proof", proof_id=proof.proof_id) == "proof_not_found"
    assert (await scene.call("ann", "get_entry", entry_id=scene.entry_id)).proofs == 0
    scene.hall.clock.advance(86_400_000)
    await scene.hall.run_job("files.collect_files")
    assert await scene.hall.rows("SELECT * FROM files_chunk") == []


async def test_number_is_bounded_and_the_list_has_pages(scene: Scene) -> None:
    await scene.upload("ann")
    added = [(await scene.add(name=f"{number}.png")).proof_id for number in range(8)]
    full = {"entry_id": scene.entry_id, "sha256": SHA256, "name": "9.png"}
    assert await scene.refusal("ann", "add_proof", **full) == "proofs_full"
    page = await scene.call("mod", "list_proofs", entry_id=scene.entry_id, limit=5)
    rest = await scene.call("mod", "list_proofs", entry_id=scene.entry_id, after=page.next)
    assert [one.proof_id for one in (*page.proofs, *rest.proofs)] == added
    assert rest.next is None
    # The same bytes eight times: removing seven leaves them readable.
    for proof_id in added[1:]:
        await scene.call("ann", "remove_proof", proof_id=proof_id)
    assert "mod" in await scene.readers()


async def test_removing_the_entry_lets_its_files_go(scene: Scene) -> None:
    await scene.upload("ann")
    await scene.add()
    await scene.call("mod", "remove_entry", entry_id=scene.entry_id)
    assert await scene.readers() == {"ann"}
    assert await scene.hall.rows("SELECT * FROM leaderboards_proof") == []
    assert await scene.hall.rows("SELECT * FROM files_hold") == []


async def test_nobody_changes_what_hangs_on_a_removed_board(scene: Scene) -> None:
    """Not even who may in the whole hall, as long as its rows are still there."""
    for who in ("ann", "boss"):
        await scene.upload(who)
    proof, fields = await scene.add(), {"entry_id": scene.entry_id}
    comment = await scene.call("boss", "add_comment", text="well run", **fields)
    await scene.call("boss", "remove_board", board_id="kart")
    for action, wanted, request in (
        ("remove_proof", "proof_not_found", {"proof_id": proof.proof_id}),
        ("remove_comment", "comment_not_found", {"comment_id": comment.comment_id}),
        ("add_comment", "entry_not_found", {"text": "late", **fields}),
        ("add_proof", "entry_not_found", {"sha256": SHA256, "name": "late.png", **fields}),
    ):
        assert await scene.refusal("boss", action, **request) == wanted, action


async def test_removing_the_board_lets_its_files_go(scene: Scene) -> None:
    await scene.upload("ann")
    await scene.add()
    await scene.call("boss", "remove_board", board_id="kart")
    assert await scene.listers() == set()
    await scene.hall.run_job("leaderboards.erase_removed_boards")
    assert await scene.readers() == {"ann"}
    assert await scene.hall.rows("SELECT * FROM leaderboards_proof") == []
    assert await scene.hall.rows("SELECT * FROM files_hold") == []


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("choice", ["keep", "remove"])
async def test_removing_the_member_does_with_proofs_what_the_board_does_with_entries(
    scene: Scene, choice: str
) -> None:
    await scene.call("boss", "update_board", board_id="kart", removed_members=choice)
    await scene.upload("ann")
    await scene.upload("ann", b"never used")
    await scene.add()
    exported = await scene.call("ann", "identity.export_self", room="leaderboards")
    [proof] = [row.data for row in exported.rows if row.kind == "proof"]
    assert (proof["sha256"], proof["name"]) == (SHA256, "finish.png")
    await scene.call("boss", "identity.remove_member", member="ann")
    await scene.hall.run_job("leaderboards.release_orphaned_proofs")
    await scene.hall.run_job("files.collect_files")
    kept = [(SHA256,)] if choice == "keep" else []
    assert await scene.hall.rows("SELECT sha256 FROM leaderboards_proof") == kept
    assert await scene.hall.rows("SELECT sha256 FROM files_hold") == kept
    assert await scene.hall.rows("SELECT sha256 FROM files_upload") == kept
    del scene.people["ann"]
    assert await scene.readers() == ({"mod", "boss"} if kept else set())


@pytest.mark.requirement("R57")
async def test_events_reach_those_who_see_the_entry(scene: Scene) -> None:
    await scene.upload("ann")
    ann = scene.people["ann"].member_id

    async def told() -> dict[str, list[str]]:
        streams = ("board/kart", "board/kart/moderation", f"member/{ann}/entries")
        return {
            stream: [
                event.kind.partition(".")[2]
                for event in await scene.hall.events(stream)
                if ".proof_" in event.kind
            ]
            for stream in streams
        }

    first = await scene.add()
    assert await told() == {
        "board/kart": [],
        "board/kart/moderation": ["proof_added"],
        f"member/{ann}/entries": [],
    }
    await scene.call("mod", "remove_proof", proof_id=first.proof_id)
    assert (await told())["board/kart"] == []
    assert (await told())[f"member/{ann}/entries"] == ["proof_removed"]
    await scene.call("mod", "verify_entry", entry_id=scene.entry_id)
    second = await scene.add()
    await scene.call("ann", "remove_proof", proof_id=second.proof_id)
    assert (await told())["board/kart"] == ["proof_added", "proof_removed"]
    assert (await told())[f"member/{ann}/entries"] == ["proof_removed"]
    # Ids only: a name would outlast its removal.
    events = await scene.hall.events("board/kart")
    assert "finish.png" not in str([event.data for event in events])


@pytest.mark.requirement("R57")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("finish.png", "finish.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\finish.png", "finish.png"),
        ("a/b/", "b"),
        ("  x\r\ny\x00.png  ", "xy.png"),
        ("gnp\u202egpj.exe", "gnpgpj.exe"),
        (".bashrc", "bashrc"),
        ("x" * 300, "x" * 128),
        ("Zieleinlauf üñ 1.png", "Zieleinlauf üñ 1.png"),
    ],
)
def test_name_is_no_path_and_hides_nothing(name: str, shown: str) -> None:
    assert choose_proof_name(name) == shown


@pytest.mark.parametrize("name", ["..", "/", "\n", " . ", "\\..\\"])
def test_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        choose_proof_name(name)


@pytest.mark.parametrize("media_type", ["png", "image/", "image/png; x=1", "IMAGE/PNG", "a/b\n"])
async def test_media_type_is_one(scene: Scene, media_type: str) -> None:
    await scene.upload("ann")
    fields = {"entry_id": scene.entry_id, "sha256": SHA256, "name": "x"}
    with pytest.raises(ProblemError) as refused:
        await scene.call("ann", "add_proof", **fields, media_type=media_type)
    assert refused.value.details["field"] == "media_type"
