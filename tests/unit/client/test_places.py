"""Commands of the access room, derived from its real declarations: a place needs no option."""

from typing import Any

import click
import pytest

from moothall.action.catalog import Catalog as HallCatalog
from moothall.app.discovery import find_rooms
from moothall.client.catalog import Catalog, read_catalog
from moothall.client.cli.derive import ActionCommand, commands_of, question_for
from moothall.client.cli.fields import fields_of
from moothall.transports.http.openapi import build_openapi


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(build_openapi(HallCatalog(find_rooms((), ())).actions.values()))


def parse(catalog: Catalog, line: str) -> tuple[str, dict[str, Any]]:
    """The action and the request that a line becomes."""
    noun, verb, *words = [word.replace("''", "") for word in line.split(" ")]
    operation = commands_of(catalog, noun)[verb]
    command = ActionCommand(operation, catalog)
    context = command.make_context(verb, words)
    return operation.name, command._request(context.params)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("line", "action", "request_"),
    [
        (
            "role grant bob moderator board/7",
            "access.grant_role",
            {"member": "bob", "role": "moderator", "at": "board/7"},
        ),
        (
            "role grant bob administrator",
            "access.grant_role",
            {"member": "bob", "role": "administrator"},
        ),
        (
            "role revoke team:staff moderator board/7",
            "access.revoke_role",
            {"member": "team:staff", "role": "moderator", "at": "board/7"},
        ),
        (
            "access explain bob scores:write board/7",
            "access.explain",
            {"member": "bob", "permission": "scores:write", "at": "board/7"},
        ),
        (
            "access check scores:write board/7 --member bob",
            "access.check",
            {"permission": "scores:write", "at": "board/7", "member": "bob"},
        ),
        ("access check scores:write", "access.check", {"permission": "scores:write"}),
        (
            "binding list board/7 --member bob",
            "access.list_bindings",
            {"member": "bob", "at": "board/7"},
        ),
        ("team create staff", "access.create_team", {"team": "staff"}),
        ("team add staff bob", "access.add_team_member", {"team": "staff", "member": "bob"}),
        ("team remove staff bob", "access.remove_team_member", {"team": "staff", "member": "bob"}),
        ("team members staff", "access.list_team_members", {"team": "staff"}),
        (
            "member ban bob board/7 --reason spam --until-ms 5",
            "access.ban",
            {"member": "bob", "at": "board/7", "reason": "spam", "until_ms": 5},
        ),
        ("member ban bob ''", "access.ban", {"member": "bob", "at": ""}),
        ("member unban bob board/7", "access.lift_ban", {"member": "bob", "at": "board/7"}),
        ("ban list", "access.list_bans", {}),
        ("role delete old --force", "access.delete_role", {"name": "old", "force": True}),
    ],
)
def test_line_of_the_access_room_becomes_a_request(
    catalog: Catalog, line: str, action: str, request_: dict[str, Any]
) -> None:
    assert parse(catalog, line) == (action, request_)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    "line", ["member ban bob", "role grant bob", "role grant bob moderator board/7 board/8"]
)
def test_place_of_a_ban_is_never_left_out_nor_given_twice(catalog: Catalog, line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(catalog, line)


@pytest.mark.requirement("R21")
@pytest.mark.parametrize(("at", "told"), [("", "at the whole hall"), ("board/7", "at board/7")])
def test_question_before_a_ban_says_where(catalog: Catalog, at: str, told: str) -> None:
    ban = commands_of(catalog, "member")["ban"]
    assert question_for(ban, {"member": "bob", "at": at}) == f"Ban member: member bob, {told}?"


@pytest.mark.requirement("R40")
def test_help_shows_what_may_be_left_out(catalog: Catalog) -> None:
    grant = ActionCommand(commands_of(catalog, "role")["grant"], catalog)
    assert "MEMBER ROLE [AT]" in grant.get_usage(click.Context(grant, info_name="grant"))
    ban = ActionCommand(commands_of(catalog, "member")["ban"], catalog)
    assert "MEMBER AT" in ban.get_usage(click.Context(ban, info_name="ban"))


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("names", [("at", "member"), ("member", "at")])
def test_place_comes_last_wherever_the_schema_names_it(
    catalog: Catalog, names: tuple[str, ...]
) -> None:
    schema = {"properties": {name: {"type": "string"} for name in names}, "required": ["member"]}
    assert [field.name for field in fields_of(schema, catalog)] == ["member", "at"]
