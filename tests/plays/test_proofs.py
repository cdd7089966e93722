"""Proof files, from the command line and from programs, at every door."""

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest

from moothall.client import CallError, FileTakenError, Hall, SyncHall
from tests.plays.conftest import PASSWORD, NewPerson, Person, RunningHall, StartHall

CHUNK = 262_144


def pattern(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"a proof").digest(size_bytes)


def read_json(person: Person, *words: str) -> dict[str, object]:
    answer = json.loads(person.does(*words, "--json"))
    assert isinstance(answer, dict)
    return answer


@pytest.mark.requirement("R57")
@pytest.mark.requirement("R40")
def test_proof_goes_up_and_down(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson, tmp_path: Path
) -> None:
    administrator.does(
        "board", "create", "Proven", "--direction", "ascending", "--default-level", "write"
    )
    carla, dora = new_person(), new_person()
    carla.joins(shared_hall, "carla")
    dora.joins(shared_hall, "dorothea")
    entry = str(read_json(carla, "score", "submit", "proven", "1.5")["entry_id"])
    file = tmp_path / "finish line.png"
    file.write_bytes(pattern(3 * CHUNK + 17))
    added = read_json(carla, "proof", "add", entry, str(file))
    assert (added["name"], added["media_type"]) == ("finish line.png", "image/png")
    proof = str(added["proof_id"])

    # A moderator reads it; a reader does not, until the entry is verified.
    got = tmp_path / "moderator.png"
    administrator.does("proof", "get", proof, "-o", str(got))
    assert got.read_bytes() == file.read_bytes()
    hers = tmp_path / "dora.png"
    assert dora.moothall("proof", "get", proof, "-o", str(hers)).returncode == 12
    assert not hers.exists()
    administrator.does("entry", "verify", entry)
    dora.does("proof", "get", proof, "-o", str(hers))
    assert hers.read_bytes() == file.read_bytes()
    assert "finish line.png" in dora.does("proof", "list", entry)

    # What is there is not lost without a word.
    got.write_text("mine")
    refused = administrator.moothall("proof", "get", proof, "-o", str(got))
    assert refused.returncode == 2
    assert got.read_text() == "mine"
    administrator.does("proof", "get", proof, "-o", str(got), "--yes")
    assert got.read_bytes() == file.read_bytes()

    assert dora.moothall("proof", "remove", proof, "--yes").returncode == 12
    carla.does("proof", "remove", proof, "--yes")
    assert administrator.moothall("proof", "get", proof, "-o", str(got)).returncode in {12, 13}
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["dora.png", "finish line.png", "moderator.png"]


@pytest.mark.requirement("R57")
def test_hall_never_picks_the_path(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson, tmp_path: Path
) -> None:
    administrator.does(
        "board", "create", "Paths", "--direction", "ascending", "--default-level", "write"
    )
    eve = new_person()
    eve.joins(shared_hall, "evelyn")
    entry = str(read_json(eve, "score", "submit", "paths", "1")["entry_id"])
    file = tmp_path / "x"
    file.write_bytes(b"#!/bin/sh")
    evil = ("--name", "../../.bashrc", "--media-type", "application/x-sh")
    added = read_json(eve, "proof", "add", entry, str(file), *evil)
    assert added["name"] == "bashrc"
    here = tmp_path / "here"
    here.mkdir()
    before = Path.cwd()
    os.chdir(here)
    try:
        written = read_json(administrator, "proof", "get", str(added["proof_id"]))
    finally:
        os.chdir(before)
    assert written["file"] == f"proof-{added['proof_id']}.bin"
    assert [path.name for path in here.iterdir()] == [written["file"]]


@pytest.mark.requirement("R57")
@pytest.mark.requirement("R31")
@pytest.mark.parametrize("door", ["https", "wss", "ndjson"])
async def test_program_sends_and_fetches_at_every_door(
    shared_hall: RunningHall, tmp_path: Path, door: str
) -> None:
    port, https_port = shared_hall.port, None
    if door == "ndjson":
        port, https_port = shared_hall.ndjson_port, shared_hall.port
    url = f"{door}://localhost:{port}"
    async with Hall(url, fingerprint=shared_hall.fingerprint, https_port=https_port) as hall:
        await hall.register(f"prog-{door}", PASSWORD)
        await hall.sign_in(f"prog-{door}", PASSWORD)
        for size in (0, 1, CHUNK, 2 * CHUNK + 1):
            file = tmp_path / str(size)
            file.write_bytes(pattern(size))
            await send_and_fetch(hall, file, pattern(size))
        with pytest.raises(CallError) as absent:
            await hall.download("0" * 64, tmp_path / "none")
        assert absent.value.error_name == "no_such_file"
        assert not (tmp_path / "none").exists()


async def send_and_fetch(hall: Hall, file: Path, data: bytes) -> None:
    told: list[tuple[int, int]] = []
    sha256 = await hall.upload(file, progress=lambda done, size: told.append((done, size)))
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert told[-1] == (len(data), len(data))
    with file.open("rb") as stream:
        assert await hall.upload(stream) == sha256
    down = await hall.download(sha256, file.with_suffix(".down"))
    assert down.read_bytes() == data
    with pytest.raises(FileTakenError):
        await hall.download(sha256, down)
    down.write_bytes(b"old")
    await hall.download(sha256, down, is_replacing=True)
    assert down.read_bytes() == data
    assert list(file.parent.glob(".*.part")) == []


@pytest.mark.requirement("R36")
@pytest.mark.requirement("R57")
def test_upload_goes_on_and_stays_after_a_kill(start_hall: StartHall, tmp_path: Path) -> None:
    hall = start_hall("moving")
    data = pattern(4 * CHUNK)
    file = tmp_path / "big.bin"
    file.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    with SyncHall(hall.url, fingerprint=hall.fingerprint) as sdk:
        sdk.register("ann", PASSWORD)
        sdk.sign_in("ann", PASSWORD)
        for at in (0, CHUNK):
            chunk = base64.b64encode(data[at : at + CHUNK]).decode()
            fields = {"sha256": sha256, "size_bytes": len(data), "offset": at, "data": chunk}
            sdk.call("files.put_chunk", fields)
    hall.kill()
    again = start_hall("moving", port=hall.port)
    with SyncHall(again.url, fingerprint=again.fingerprint) as sdk:
        sdk.sign_in("ann", PASSWORD)
        assert sdk.call("files.get_upload", {"sha256": sha256})["offset"] == 2 * CHUNK
        told: list[int] = []
        assert sdk.upload(file, progress=lambda done, _all: told.append(done)) == sha256
        assert told[0] == 2 * CHUNK
    again.kill()
    last = start_hall("moving", port=hall.port)
    with SyncHall(last.url, fingerprint=last.fingerprint) as sdk:
        sdk.sign_in("ann", PASSWORD)
        assert sdk.download(sha256, tmp_path / "down").read_bytes() == data
