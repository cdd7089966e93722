"""The page of commands: the program's own, and those made of what a hall declares.

For ``tools/make_reference.py``. The page is made from the commands themselves, as the program
would offer them to somebody who knows one hall with all built-in rooms.
"""

import re
from collections.abc import Iterator, Mapping

import click

from moothall.action.catalog import Catalog
from moothall.app.admin import COMMANDS
from moothall.app.main import serve
from moothall.client.catalog import Catalog as HallCatalog
from moothall.client.catalog import read_catalog
from moothall.client.cli.derive import ActionCommand, commands_of, nouns_of
from moothall.client.cli.main import build_cli
from moothall.client.cli.settings import global_options
from moothall.transports.http.openapi import build_openapi

_COMMON = {word for option in global_options(is_shown=True) for word in option.opts}

_HEAD = """\
# Commands

Every command of `moothall`. This page is made from the commands themselves:
`.venv/bin/python tools/make_reference.py` writes it anew. `moothall NOUN VERB --help` says the
same in a terminal.

Commands marked *hall* are made of the [actions](actions.md) that a hall declares, so your own
rooms add theirs. The others belong to the program. What they answer goes to standard output,
what they have to say to standard error, and [exit codes](exit-codes.md) tell what happened.

## Options of every command

They may stand before or after the words of every command.
"""


def _build_program() -> click.Group:
    """Return all commands of the program itself."""
    root = build_cli()
    for command in (serve, *COMMANDS):
        root.add_command(command)
    return root


def make_commands_page(catalog: Catalog) -> str:
    """Return the page for a hall with the rooms of ``catalog``."""
    hall = read_catalog(build_openapi(catalog.actions.values()))
    root = _build_program()
    lines = [_HEAD, _parameters(global_options(is_shown=True))]
    for words, command in _walk(root.commands, hall):
        lines.append(_section(words, command))
    return "\n".join(lines)


def list_commands(catalog: Catalog) -> list[str]:
    """Return the words of all commands, such as ``board create``."""
    hall = read_catalog(build_openapi(catalog.actions.values()))
    root = _build_program()
    return [words for words, _ in _walk(root.commands, hall)]


def _walk(
    own: Mapping[str, click.Command], hall: HallCatalog
) -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its words, in order; the program's own win over the hall's."""
    for noun in sorted({*own, *nouns_of(hall)}):
        command = own.get(noun)
        if command is not None and not isinstance(command, click.Group):
            yield noun, command
            continue
        verbs: dict[str, click.Command] = {
            verb: ActionCommand(operation, hall)
            for verb, operation in commands_of(hall, noun).items()
        }
        verbs |= {} if command is None else command.commands
        for verb, found in sorted(verbs.items()):
            yield f"{noun} {verb}", found


def _section(words: str, command: click.Command) -> str:
    """Return the section of one command."""
    mark = " *hall*" if isinstance(command, ActionCommand) else ""
    context = click.Context(command, info_name=words)
    arguments = [
        param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)
    ]
    usage = f"`{' '.join(['moothall', words, *arguments])}`"
    own = [param for param in command.params if not _COMMON.intersection(param.opts)]
    text = re.sub(r"\n(?!\n)", " ", (command.help or "").strip()).replace("\n ", "\n\n")
    return f"## {words}\n\n{usage}{mark}\n\n{text}\n\n{_parameters(own)}"


def _parameters(params: list[click.Option] | list[click.Parameter]) -> str:
    """Return a table of options and arguments, or a word that there are none."""
    rows = [
        f"| {_words(param)} | {_cell(getattr(param, 'help', None) or '')} |"
        for param in params
        if not getattr(param, "hidden", False)
    ]
    if not rows:
        return "No options of its own.\n"
    return "\n".join(["| option | meaning |", "| --- | --- |", *rows]) + "\n"


def _words(param: click.Parameter) -> str:
    """Return an option as it is typed, with what it takes."""
    if isinstance(param, click.Argument):
        return f"`{(param.name or '').upper()}`"
    words = ", ".join(f"`{word}`" for word in [*param.opts, *param.secondary_opts])
    if isinstance(param, click.Option) and (param.is_flag or param.count):
        return words
    kind = param.type
    if isinstance(kind, click.Choice):
        return f"{words} {', '.join(f'`{choice}`' for choice in kind.choices)}"
    return f"{words} {_cell(param.metavar or kind.name.upper())}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`").replace("<", "&lt;")
