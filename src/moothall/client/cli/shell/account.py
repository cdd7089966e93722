"""Signing in and out, and one's own account."""

from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts, table
from moothall.client.cli.shell.pages import CursorPages


def sign_in(shell: Shell) -> Place | Step:
    """Open a session, as `moothall login` does."""
    if name := shell.ask("Name"):
        shell.carry_out("login", *_from_stdin(shell), "--", name)
        return Step.STAY
    return Step.KEEP


def register(shell: Shell) -> Place | Step:
    """Make an account and sign in, as `moothall register` does; it asks for what the hall needs."""
    if name := shell.ask("Name you would like to have"):
        shell.carry_out("register", *_from_stdin(shell), "--", name)
        return Step.STAY
    return Step.KEEP


def sign_out(shell: Shell) -> Place | Step:
    """End the session, as `moothall logout` does."""
    shell.carry_out("logout")
    return Step.STAY


def recover(shell: Shell) -> Place | Step:
    """Set a new password, with a code of an administrator's or one that is sent."""
    name = shell.ask("Name")
    if not name:
        return Step.KEEP
    code = shell.ask_secret("Code, if an administrator gave you one (nothing: one is sent)")
    if not code:
        shell.call("identity.request_recovery", name=name)
        shell.say("If this member has a verified address, a code was sent there.")
        code = shell.ask_secret("Code (nothing to stop)")
    if not code:
        return Step.KEEP
    password = shell.ask_secret("New password")
    if password != shell.ask_secret("New password again"):
        shell.say("the two differ; nothing was done")
        return Step.KEEP
    shell.call("identity.complete_recovery", name=name, code=code.strip(), new_password=password)
    shell.say("The password is changed; sign in with it.")
    return Step.STAY


def account_screen(member: Any, *, may_claim: bool) -> Screen:
    """Return the screen of one's own account.

    Args:
        member: As ``identity.get_self`` answers.
        may_claim: Whether the hall may still wait for its first administrator.
    """
    member_id, name = member["member_id"], member["name"]
    lines = facts(
        (
            ("Name", name),
            ("Member since", format_time(member["created_at_ms"])),
            ("Id", member_id),
        )
    )
    return Screen(
        "Your account",
        tuple(lines),
        (
            Choice(
                "p",
                "roles",
                "what you may do",
                lambda _: RolesPlace(member_id, name),
                help="the roles you hold, and where",
            ),
            Choice(
                "c",
                "claim",
                "become the first administrator",
                _claim,
                may_claim,
                help="with the one-time secret that the hall printed at its start",
            ),
            Choice(
                "e",
                "rename",
                "take another name",
                _rename,
                help="the old one stays reserved for you for a while",
            ),
            Choice("o", "logout", "sign out", _leave),
        ),
    )


class AccountPlace:
    """One's own account."""

    title = "Your account"

    def look(self, shell: Shell) -> Screen:
        """Load the account."""
        member = shell.call("identity.get_self")
        return account_screen(member, may_claim=not shell.may("roles:grant"))


class RolesPlace:
    """What one member holds: roles, and where; what everyone may do comes on top."""

    def __init__(self, member_id: str, name: str) -> None:
        self.title = f"Roles of {name}"
        self._member_id = member_id
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call("access.list_bindings", member=self._member_id, **self._pages.asked)
        held = page["bindings"]
        self._pages.note(len(held), page["next"])
        rows = [(one["role"], one["at"] or "the whole hall") for one in held]
        lines = table(("role", "at"), rows) if rows else ["None of their own."]
        return Screen(
            self.title, (*lines, "", "What everyone may do comes on top."), self._pages.choices()
        )


def _claim(shell: Shell) -> Place | Step:
    if secret := shell.ask_secret("One-time secret that the hall printed at its start").strip():
        shell.call("access.claim_administration", secret=secret)
        shell.say("You are an administrator of this hall now.")
        return Step.STAY
    return Step.KEEP


def _rename(shell: Shell) -> Place | Step:
    name = shell.ask("New name")
    if not name or not shell.confirm(f"Be called {name} from now on?"):
        return Step.KEEP
    shell.call("identity.rename_self", name=name)
    return Step.STAY


def _leave(shell: Shell) -> Place | Step:
    shell.carry_out("logout")
    return Step.BACK


def _from_stdin(shell: Shell) -> tuple[str, ...]:
    """Return the option by which a password is read where there is no terminal."""
    return () if shell.keyboard.isatty() else ("--password-stdin",)
