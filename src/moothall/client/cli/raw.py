"""`moothall call`: any action, with its request as JSON."""

from typing import Any

import click

from moothall.client.cli.derive import call, hide_secrets
from moothall.client.cli.fields import read_json
from moothall.client.cli.groups import LocalCommand
from moothall.client.cli.render import print_result
from moothall.client.cli.state import state_of


def call_command() -> click.Command:
    """Return the command."""
    return LocalCommand(
        "call",
        params=[
            click.Argument(["action"], help="Wire name, such as leaderboards.get_rank."),
            click.Argument(
                ["request"],
                metavar="[JSON|@FILE|-]",
                default="{}",
                help="Its fields as a JSON object, a file that holds it, or standard input.",
            ),
            click.Option(["--idempotency-key"], help="Key of a write that may be repeated."),
            click.Option(["--show-secrets"], is_flag=True, help="Print secrets of the answer."),
        ],
        callback=_call,
        help="Call an action by its wire name.",
    )


def _call(*, action: str, request: str, idempotency_key: str | None, show_secrets: bool) -> None:
    state = state_of(click.get_current_context())
    try:
        fields: Any = read_json(request)
    except ValueError as error:
        raise click.UsageError(f"request: {error}") from None
    if not isinstance(fields, dict):
        raise click.UsageError("the request must be a JSON object")
    result = call(state, action, fields, idempotency_key=idempotency_key)
    operation = state.catalog().operations.get(action)
    if operation is not None and operation.secret_reply and not show_secrets:
        result = hide_secrets(result)
    print_result(result, state.settings)
