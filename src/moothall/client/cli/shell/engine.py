"""What carries the menus: reads choices, calls the hall, and survives whatever goes wrong."""

import asyncio
import getpass
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO, cast

import click

from moothall.client.cli.derive import call
from moothall.client.cli.exits import OK, exit_code
from moothall.client.cli.failures import tell, tell_usage
from moothall.client.cli.shell.keyboard import LINE_LENGTH_MAX, Keyboard
from moothall.client.cli.shell.menu import (
    Choice,
    Screen,
    Step,
    explain_screen,
    facts,
    find_choice,
    show_screen,
    suggest,
)
from moothall.client.cli.state import State
from moothall.client.cli.text import neutralise
from moothall.client.errors import CallError, ClientError
from moothall.client.retry import Effect

if TYPE_CHECKING:
    from types import TracebackType

    from moothall.client.hall import Hall

_STOPPED = "stopped; what was already sent may have been done: r shows"


class Place(Protocol):
    """Something that can be looked at: a board, an entry, the list of members.

    Attributes:
        title: What it is, in words, where it could not be loaded.
    """

    title: str

    def look(self, shell: "Shell") -> Screen:
        """Load what there is to see, and return the screen of it.

        Raises:
            ClientError: It could not be loaded.
        """
        ...


class _Left(Exception):  # noqa: N818 - no error: Ctrl-D is how one leaves
    """The person will type nothing more."""


class Shell:
    """One run of the shell. Use it in ``with``.

    Args:
        state: What the run holds.
        root: The program's commands; the shell carries some of them out.
        stream: Where lines come from.
    """

    def __init__(self, state: State, root: click.Command, stream: TextIO) -> None:
        # A deed in the shell is confirmed where it is done, never beforehand.
        state.settings = replace(state.settings, yes=False)
        whole_s = state.settings.duration
        ends_s = None if whole_s is None else time.monotonic() + whole_s
        self.state = state
        self.keyboard = Keyboard(stream, ends_s)
        self._root = root
        self._stream = stream
        self._places: list[Place] = []

    def __enter__(self) -> Self:
        sys.stdin = cast("TextIO", self.keyboard)  # Lines are all that anything here reads.
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        sys.stdin = self._stream

    def run(self, place: Place) -> int:
        """Show a place and whatever it leads to, until the person quits; return the exit code."""
        self._places = [place]
        try:
            while self._places:
                self._visit()
        except _Left:
            self.write("\n")
        except ClientError as error:
            # Only the end of the time for everything comes so far.
            self.write("\n")
            tell(error, as_json=False)
            return exit_code(error)
        return OK

    # --- what a person sees and types -------------------------------------------------------------

    def write(self, text: str) -> None:
        """Show something as it stands; nothing in it can move the cursor."""
        sys.stdout.write(neutralise(text, keep="\n"))
        sys.stdout.flush()

    def say(self, *lines: str) -> None:
        """Tell something, a line each."""
        self.write("".join(f"{neutralise(line)}\n" for line in lines))

    def ask(self, label: str, default: str = "") -> str:
        """Return what a person types in one line, without spaces around it."""
        shown = f" [{neutralise(default)}]" if default else ""
        return self._read_line(f"{label}{shown}: ").strip() or default

    def ask_until(self, label: str, known: Sequence[str], default: str = "") -> str:
        """Return one of the words in ``known``; its first letters are enough. '' is none."""
        while True:
            typed = self.ask(f"{label} ({', '.join(known)})", default).casefold()
            found = [word for word in known if typed and word.startswith(typed)]
            if typed in known or not typed:
                return typed
            if len(found) == 1:
                return found[0]
            self.say("please type one of the words, or nothing")

    def ask_number(self, label: str) -> float | None:
        """Return a number, or None where nothing was typed."""
        while typed := self.ask(label):
            try:
                return float(typed)
            except ValueError:
                self.say("that is no number; write it as 12.5, or nothing to stop")
        return None

    def ask_secret(self, name: str) -> str:
        """Return something that is not shown while it is typed."""
        if not self.keyboard.isatty():
            return self._read_line(f"{name}: ")
        try:
            return getpass.getpass(f"{name}: ", stream=None)
        except EOFError:
            raise _Left from None

    def confirm(self, question: str) -> bool:
        """Ask whether to go on; anything but a yes is a no."""
        answer = self._read_line(f"{neutralise(question)} [y/N]: ").strip().casefold()
        if answer in {"y", "yes"}:
            return True
        self.say("nothing was done")
        return False

    def review(self, question: str, pairs: Iterable[tuple[str, str]]) -> bool:
        """Show what a form is about to send, and ask whether to send it."""
        self.say("", *facts(pairs))
        return self.confirm(question)

    # --- what it does -----------------------------------------------------------------------------

    def call(self, action: str, **request: Any) -> Any:
        """Call an action of the hall.

        Raises:
            ClientError: It was refused, or could not be made.
        """
        return call(self.state, action, request)

    def call_all(self, *calls: tuple[str, Mapping[str, Any]]) -> list[Any]:
        """Make several reads at once, and return what each answers.

        Raises:
            ClientError: One of them was refused.
        """
        hall = self.state.hall()

        async def gather() -> list[Any]:
            waiting = (hall.call(name, asked, effect=Effect.READ) for name, asked in calls)
            # Wait for all: nothing may be under way when the loop stops.
            return list(await asyncio.gather(*waiting, return_exceptions=True))

        answers = self.state.run(gather())
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def may(self, *permissions: str, at: str = "") -> frozenset[str]:
        """Return those of the permissions that the person holds at a resource."""
        asked = [("access.check", {"permission": one, "at": at}) for one in permissions]
        try:
            answers = self.call_all(*asked)
        except CallError:
            return frozenset()  # Nobody is signed in, or the hall does not say.
        held = zip(permissions, answers, strict=True)
        return frozenset(name for name, answer in held if answer.get("is_allowed") is True)

    def offers(self, *actions: str) -> bool:
        """Tell whether the hall has all these actions, as far as it is known."""
        try:
            operations = self.state.catalog().operations
        except ClientError:
            return True  # Whoever chooses it learns what is wrong.
        return all(action in operations for action in actions)

    def hall(self) -> "Hall":
        """Return the current hall."""
        return self.state.hall()

    def signed_in_as(self) -> str:
        """Return the name of the member who is signed in, or ''."""
        session = self.hall().session
        return "" if session is None else session.name

    def carry_out(self, *words: str) -> bool:
        """Carry out a command of the program; tell whether it succeeded. It asks for itself."""
        before = self.state.settings
        try:
            result = self._root.main(
                args=list(words), prog_name="moothall", standalone_mode=False, obj=self.state
            )
        except click.Abort:
            if self.keyboard.is_at_end:
                raise _Left from None
            self.say("stopped; nothing more was done")
            return False
        except click.ClickException as error:
            tell_usage(error, as_json=False)
            return False
        except ClientError as error:
            tell(error, as_json=False)
            return False
        finally:
            # What a command sets for itself, and what was confirmed, ends with it.
            self.state.settings = replace(before, server=self.state.settings.server)
        return not isinstance(result, int) or result == OK

    # --- the engine -------------------------------------------------------------------------------

    def _visit(self) -> None:
        """Show the place on top, and let choices be made there until one leads elsewhere."""
        place = self._places[-1]
        screen = self._look(place)
        self.write(f"\n{show_screen(screen)}")
        while True:
            try:
                typed = self._read_line("> ").strip()
            except KeyboardInterrupt:
                self.write("\n")
                self._interrupt()
                return
            if not typed:
                self.write(f"\n{show_screen(screen)}")
            elif typed == "?":
                self.write(f"\n{explain_screen(screen)}")
            elif (choice := find_choice(screen, typed)) is None:
                self.say(suggest(screen, typed))
            elif self._do(choice):
                return

    def _look(self, place: Place) -> Screen:
        """Return the screen of a place; where it cannot be loaded, one that only leads away."""
        try:
            screen = place.look(self)
        except ClientError as error:
            tell(error, as_json=False)
            screen = Screen(place.title, ("This could not be loaded; r tries again.",))
        except KeyboardInterrupt:
            screen = Screen(place.title, ("Stopped while loading; r tries again.",))
        return replace(screen, choices=(*screen.choices, *self._always()))

    def _always(self) -> tuple[Choice, ...]:
        """Return the choices of every screen."""
        return (
            Choice("r", "refresh", "refresh", lambda _: Step.STAY),
            Choice("b", "back", "back", lambda _: Step.BACK, is_offered=len(self._places) > 1),
            Choice("?", "help", "help", lambda _: Step.KEEP),
            Choice("q", "quit", "quit", lambda _: Step.QUIT),
        )

    def _do(self, choice: Choice) -> bool:
        """Do what was chosen; tell whether the screen is to be shown anew."""
        try:
            step = choice.deed(self)
        except ClientError as error:
            tell(error, as_json=False)
            return False
        except KeyboardInterrupt:
            self.write(f"\n{_STOPPED}\n")
            return False
        match step:
            case Step.KEEP:
                return False
            case Step.STAY:
                return True
            case Step.BACK:
                self._places.pop()
            case Step.QUIT:
                self._places.clear()
            case _:
                self._places.append(step)
        return True

    def _interrupt(self) -> None:
        """Go back, or ask at the top whether to leave."""
        if len(self._places) > 1:
            self._places.pop()
            return
        try:
            if self.confirm("Quit?"):
                self._places.clear()
        except KeyboardInterrupt:
            self._places.clear()

    def _read_line(self, prompt: str) -> str:
        """Return one line without its end."""
        self.write(prompt)
        line = self.keyboard.readline()
        if not line:
            raise _Left
        if len(line) >= LINE_LENGTH_MAX:
            while line and not line.endswith("\n"):
                line = self.keyboard.readline()
            self.say("that line is too long and was not read")
            return ""
        return line.removesuffix("\n").removesuffix("\r")
