"""Commands made from what a hall declares."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import click

from moothall.client.catalog import Catalog, Operation
from moothall.client.cli.ask import confirm, read_secret
from moothall.client.cli.fields import NEGATIVE_MARK, Kind, fields_of, parameters_of
from moothall.client.cli.render import print_result, say
from moothall.client.cli.settings import add_global_options
from moothall.client.cli.state import State, state_of
from moothall.client.cli.text import neutralise
from moothall.client.marks import override

DANGEROUS = frozenset(
    {
        "ban",
        "delete",
        "erase",
        "purge",
        "remove",
        "reset",
        "retire",
        "revoke",
        "shutdown",
        "wipe",
    }
)
"""Verbs that ask before they act."""

REPLACED = frozenset(
    {
        "feeds.acknowledge",
        "feeds.subscribe",
        "feeds.unsubscribe",
        "files.change_reader",
        "files.get_chunk",
        "files.hold_file",
        "files.put_chunk",
        "files.release_file",
        "identity.authenticate",
        "identity.close_session",
        "identity.open_session",
        "identity.refresh_session",
        "identity.register",
        "identity.register_guest",
        "leaderboards.add_proof",
        "leaderboards.import_entries",
    }
)
"""Actions that commands of this program's own call, with what they need on this machine.

Some need a connection that stays, which a single call has not: `feed follow` makes one.
"""

_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)
_SECTION = re.compile(r"^(Args|Returns|Raises|Emits|Yields):\s*$", re.MULTILINE)
_HIDDEN = "(secret; --show-secrets prints it)"
_SECRET_NAME = re.compile(r"(^|_)(token|password|secret|code|key|link)$")


class ActionCommand(click.Command):
    """A command that calls one action."""

    def __init__(self, operation: Operation, catalog: Catalog, place: str = "") -> None:
        self.operation = operation
        self.fields = fields_of(operation.request, catalog)
        params = [param for field in self.fields for param in parameters_of(field)]
        if operation.secret_reply:
            text = "Print secrets of the answer too."
            params.append(
                click.Option(["show_secrets__", "--show-secrets"], is_flag=True, help=text)
            )
        super().__init__(
            operation.command[1],
            params=add_global_options(params),
            help=_help(operation),
            short_help=neutralise(operation.summary.replace("``", "")),
            epilog=f"Calls {neutralise(operation.name)}{place}.",
        )

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a negative number be a value, and no option."""
        marked = [NEGATIVE_MARK + one if _NEGATIVE.match(one) else one for one in args]
        return super().parse_args(ctx, marked)

    @override
    def invoke(self, ctx: click.Context) -> None:
        """Call the action. A field may have any name, so none becomes a parameter here."""
        state, values = state_of(ctx), ctx.params
        verb = self.operation.command[1]
        request = self._request(values)
        place, _ = state.place_of(self.operation.name)
        elsewhere = "" if place == state.server()[0] else place
        if verb in DANGEROUS:
            confirm(state, question_for(self.operation, request, elsewhere))
        elif elsewhere and not state.settings.json:
            say(f"at {elsewhere}:")
        request |= self._secrets(values)
        result = call(state, self.operation.name, request)
        if self.operation.secret_reply and not values.get("show_secrets__"):
            result = hide_secrets(result)
        print_result(result, state.settings)

    def _request(self, values: Mapping[str, Any]) -> dict[str, Any]:
        request = {}
        for field in self.fields:
            value = values.get(field.name)
            if value is None or (field.kind is Kind.REPEATED and not value):
                continue
            request[field.name] = list(value) if field.kind is Kind.REPEATED else value
        return request

    def _secrets(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Ask for secrets last, when nothing else can be wrong with the line."""
        found = {}
        for field in self.fields:
            from_stdin = bool(values.get(f"{field.name}__stdin"))
            if field.kind is Kind.SECRET and (field.is_required or from_stdin):
                found[field.name] = read_secret(
                    field.name.replace("_", " "),
                    from_stdin=from_stdin,
                    is_new=field.name.startswith("new_"),
                )
        return found


def call(state: State, action: str, request: Mapping[str, Any], **options: Any) -> Any:
    """Call an action of the hall of this run, or of its identity server if only that offers it."""
    _, hall = state.place_of(action)
    return state.run(hall.call(action, request, **options))


def commands_of(catalog: Catalog, noun: str) -> dict[str, Operation]:
    """Return the operations that a hall offers under a noun, by verb."""
    return {
        operation.command[1]: operation
        for operation in offered(catalog)
        if operation.command[0] == noun
    }


def nouns_of(catalog: Catalog) -> list[str]:
    """Return the nouns that a hall offers."""
    return sorted({operation.command[0] for operation in offered(catalog)})


def offered(catalog: Catalog) -> Iterable[Operation]:
    """Return the operations that become commands."""
    return (one for one in catalog.operations.values() if one.name not in REPLACED)


def hide_secrets(result: Any) -> Any:
    """Return a result without its secrets."""
    if isinstance(result, list):
        return [hide_secrets(one) for one in result]
    if not isinstance(result, Mapping):
        return result
    return {
        name: _HIDDEN
        if isinstance(value, str) and _SECRET_NAME.search(name)
        else hide_secrets(value)
        for name, value in result.items()
    }


def question_for(operation: Operation, request: Mapping[str, Any], elsewhere: str = "") -> str:
    """Return what is asked before a command that takes something away.

    Args:
        operation: What would be called.
        request: With what.
        elsewhere: Name of the server, if it is not the current one.
    """
    noun, verb = operation.command
    # An empty place would look as if something were missing, where most is at stake.
    shown = {
        name: "the whole hall" if (name, value) == ("at", "") else value
        for name, value in request.items()
    }
    what = ", ".join(f"{name} {value}" for name, value in shown.items())
    at = f" at {elsewhere}" if elsewhere else ""
    return neutralise(f"{verb.capitalize()} {noun}{at}{': ' if what else ''}{what}?")


def _help(operation: Operation) -> str:
    """Return the summary and the free text; parameters have their own place."""
    text = _SECTION.split(operation.description, maxsplit=1)[0].strip()
    text = text.removeprefix(operation.summary).strip().replace("``", "")
    summary = operation.summary.replace("``", "")
    return neutralise(f"{summary}\n\n{text}".strip(), keep="\n")
