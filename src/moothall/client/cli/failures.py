"""How an error is told: what happened, what to do, and where to look it up."""

import sys
from typing import Any

import click

from moothall.client.cli.render import format_duration, say, show_value
from moothall.client.cli.text import neutralise_json
from moothall.client.errors import CallError, ClientError
from moothall.core.codes import Code
from moothall.core.errors import Problem

_MINUTE_MS = 60_000
_SAID_OTHERWISE = frozenset({"reason", "remedy", "field", "near", "retry_after_ms"})


def tell(error: ClientError, *, as_json: bool) -> None:
    """Tell an error on standard error."""
    problem = error.problem()
    if as_json:
        _print_problem(problem)
        return
    field = problem.details.get("field")
    where = f"{field}: " if isinstance(field, str) and field else ""
    say(f"moothall: {where}{error.reason}")
    for line in _lines(error, problem):
        say(f"  {line}")


def tell_usage(error: click.ClickException, *, as_json: bool) -> None:
    """Tell that a command line cannot be understood."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if as_json:
        _print_problem(_usage_problem(message))
        return
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(message)
        return
    say(f"moothall: {message}")
    if context is not None:
        say(f"  try: {context.command_path} --help")


def _lines(error: ClientError, problem: Problem) -> list[str]:
    """Return remedy, near matches, facts and request, as far as there are any."""
    lines = []
    near = problem.details.get("near")
    if isinstance(near, list) and near and "did you mean" not in error.remedy:
        lines.append(f"did you mean: {', '.join(map(str, near))}?")
    if remedy := _remedy_for(problem) or error.remedy:
        lines.append(remedy)
    facts = {name: value for name, value in problem.details.items() if name not in _SAID_OTHERWISE}
    lines.extend(f"{name}: {show_value(name, value)}" for name, value in facts.items())
    if isinstance(error, CallError):
        request = f", request {problem.request_id}" if problem.request_id else ""
        lines.append(f"({problem.name}, {problem.code}{request})")
    return lines


def _remedy_for(problem: Problem) -> str:
    """Return what helps, where this program knows better than the hall or it says nothing."""
    wait_ms = problem.details.get("retry_after_ms")
    if isinstance(wait_ms, (int, float)):
        return f"try again in {_describe_wait(int(wait_ms))}"
    if problem.name == "unauthenticated":
        return "sign in: moothall login NAME"
    if "remedy" in problem.details:
        return ""
    match problem.code:
        case Code.PERMISSION_DENIED:
            return (
                "ask an administrator of the hall for a role that holds it: moothall role list, "
                "then moothall role grant NAME ROLE"
            )
        case Code.INTERNAL:
            return "tell the operator of the hall, with the number of the request"
        case Code.UNAVAILABLE | Code.ABORTED:
            return "try again later"
    return ""


def _describe_wait(wait_ms: int) -> str:
    """Return how long to wait, rounded up: shorter than a minute to tenths of a second."""
    if wait_ms <= _MINUTE_MS:
        return f"{-(-wait_ms // 100) / 10:g} s"
    return format_duration(-(-wait_ms // _MINUTE_MS) * _MINUTE_MS)


def _usage_problem(message: str) -> Problem:
    return Problem(
        type="urn:moothall:client:usage",
        title=message,
        status=0,
        code=Code.INVALID_ARGUMENT.value,
        name="usage",
        details={},
        retryable=False,
        request_id="",
    )


def _print_problem(problem: Problem) -> None:
    import msgspec  # noqa: PLC0415 - only errors need it here

    fields: dict[str, Any] = {name: getattr(problem, name) for name in Problem.__dataclass_fields__}
    text = msgspec.json.encode(fields, enc_hook=str).decode()
    sys.stderr.write(neutralise_json(text) + "\n")
