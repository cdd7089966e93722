"""The first administrator of a hall of two nodes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moothall.app.lifecycle import renew_secret
from moothall.ports.claim import Claim
from moothall.testing import OpenHall
from tests.nodes.access import administrators, index_of, open_two, together
from tests.nodes.watching import WITHIN_SECONDS, until
from tests.servers.nodes import Nodes, open_nodes


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


async def share_secret(hall: OpenHall, file: Path) -> str:
    """Begin as the program does, and return what its operator sees."""
    secret = await renew_secret(hall.hall, file)
    assert secret is not None
    assert file.read_text().strip() == secret  # noqa: ASYNC240 - a test alone in its loop
    return secret


@pytest.mark.requirement("R11")
async def test_r11_of_many_claims_at_two_nodes_one_succeeds(tmp_path: Path) -> None:
    for seed in range(3):
        async with open_nodes(tmp_path / str(seed)) as nodes:
            first, second = nodes.halls
            people = [await first.member(f"person{number}") for number in range(8)]
            shown = await asyncio.gather(
                *(share_secret(hall, hall.settings.data_path / "secret") for hall in nodes.halls)
            )
            assert shown[0] == shown[1], seed
            secret = {"secret": shown[0]}
            outcomes = await together(
                seed,
                *(
                    (hall, who, "access.claim_administration", secret)
                    for who, hall in zip(people, [first, second] * 4, strict=True)
                ),
            )
            assert sorted(outcomes) == ["administration_claimed"] * 7 + ["done"], seed
            assert await administrators(first) == 1


@pytest.mark.requirement("R11")
async def test_r11_all_nodes_show_one_secret_and_forget_it_when_it_is_spent(
    nodes: Nodes, tmp_path: Path
) -> None:
    first, second = nodes.halls
    secret = await share_secret(first, tmp_path / "first")
    assert await share_secret(second, tmp_path / "second") == secret
    assert await share_secret(first, tmp_path / "first") == secret, "also after another start"
    spent = asyncio.Event()
    claim: Any = first.hall.house.use(Claim)
    claim._on_claimed = spent.set
    ann = await second.member("ann")
    await index_of(first).admit(first.hall.database, ann.member_id)
    await second.call("access.claim_administration", {"secret": secret}, as_=ann)
    await asyncio.wait_for(spent.wait(), WITHIN_SECONDS)
    await until(lambda: index_of(first).allows(ann.member_id, "*", ""))
    assert await renew_secret(second.hall, tmp_path / "second") is None
    assert not (tmp_path / "second").exists()
    # As docs/how-to/run-sign-in.md lets whoever holds the rows do.
    reset = "UPDATE access_claim SET claimed_by = NULL, claimed_at_ms = NULL"
    await first.hall.database.write(lambda tx: tx.execute(reset))
    assert await share_secret(second, tmp_path / "second") != secret, "what was used stays useless"
