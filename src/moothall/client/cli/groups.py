"""Groups whose commands are this program's own and, beside them, those of the hall."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from moothall.client.catalog import Catalog, Operation
from moothall.client.cli.derive import ActionCommand, commands_of, nouns_of
from moothall.client.cli.settings import add_global_options
from moothall.client.cli.state import State, state_of
from moothall.client.errors import ClientError
from moothall.client.marks import override
from moothall.core.names import near_matches


class LocalCommand(click.Command):
    """A command of this program's own. It takes the global options too."""

    def __init__(self, name: str, *, params: list[click.Parameter], **options: Any) -> None:
        super().__init__(name, params=add_global_options(params), **options)


class NounGroup(click.Group):
    """All verbs of a noun."""

    def __init__(
        self, name: str, *, own: Mapping[str, click.Command] | None = None, **options: Any
    ) -> None:
        options.setdefault("help", f"What can be done with: {name}.")
        super().__init__(name, commands=dict(own or {}), params=add_global_options(()), **options)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all verbs, as the hall knows them now."""
        state = state_of(ctx)
        there = self._derived(state.identity_catalog)
        return sorted({*self.commands, *self._derived(state.catalog), *there})

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb."""
        if own := self.commands.get(cmd_name):
            return own
        state = state_of(ctx)
        for find in (state.catalog, state.identity_catalog):
            catalog = find()
            operation = commands_of(catalog, self.name or "").get(cmd_name)
            if operation is not None:
                return ActionCommand(operation, catalog, _place(state, operation))
        return None

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones are near."""
        return _resolve(super().resolve_command, self, ctx, args)

    def _derived(self, find: Callable[[], Catalog]) -> Mapping[str, Operation]:
        try:
            return commands_of(find(), self.name or "")
        except ClientError:
            return {}  # Help must not fail where only the hall is away.


class Root(click.Group):
    """The program."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all nouns: this program's, and the hall's as it was last seen."""
        return sorted({*self.commands, *_kept_nouns(state_of(ctx))})

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command or group of a word."""
        if own := self.commands.get(cmd_name):
            return own
        state = state_of(ctx)
        if cmd_name in _kept_nouns(state) or any(
            cmd_name in nouns_of(find()) for find in (state.catalog, state.identity_catalog)
        ):
            here = commands_of(state.kept_catalog(), cmd_name)
            there = commands_of(state.kept_identity_catalog(), cmd_name)
            return NounGroup(cmd_name, short_help=", ".join(sorted({*here, *there})) or None)
        return None

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones are near."""
        return _resolve(super().resolve_command, self, ctx, args)

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say where the commands of a hall come from."""
        super().format_epilog(ctx, formatter)
        if not _kept_nouns(state_of(ctx)):
            formatter.write_paragraph()
            formatter.write_text(
                "The commands of a hall stand here once it is known: moothall server add NAME URL"
            )


def _kept_nouns(state: State) -> list[str]:
    try:
        return [*nouns_of(state.kept_catalog()), *nouns_of(state.kept_identity_catalog())]
    except ClientError:
        return []


def _place(state: State, operation: Operation) -> str:
    """Return where a command goes, if there is more than one server that it could go to."""
    name, server = state.server()
    if server.kind == "identity":
        return ""
    identity, _ = state.identity_server()
    if operation.name not in state.catalog().operations:
        return f" at {identity}, the identity server of {name}"
    return f" at {name}; for the same at another server say --server NAME"


Resolve = Callable[[click.Context, list[str]], tuple[str | None, click.Command | None, list[str]]]


def _resolve(
    resolve: Resolve, group: click.Group, ctx: click.Context, args: list[str]
) -> tuple[str | None, click.Command | None, list[str]]:
    try:
        return resolve(ctx, args)
    except click.exceptions.NoSuchCommand as error:
        word = error.command_name
        near = near_matches(word, group.list_commands(ctx))
        hint = f" Did you mean: {', '.join(near)}?" if near else ""
        raise click.UsageError(f"There is no command {word!r}.{hint}", ctx) from None
