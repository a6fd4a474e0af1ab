"""The command `chappie`: its subcommands, each imported only when it runs."""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import chappie

_USAGE = 64
_SHOWN_MAX = 60

# (name, module, what it does); a module has `add_arguments(parser)` and `run(args) -> int`.
_COMMANDS = (
    ("up", "chappie.cli.up", "start the guardian, which starts and watches the trader"),
    ("trade", "chappie.cli.trade", "the trader process alone, for another supervisor"),
    ("venue", "chappie.cli.venue", "the simulated venue as a server on loopback"),
    ("status", "chappie.cli.status", "what the running instance does and knows"),
    ("why", "chappie.cli.why", "what keeps it from trading, since when, and what would open it"),
    ("doctor", "chappie.cli.doctor", "look at everything that a start needs; says what to do"),
    ("unit", "chappie.cli.unit", "print a systemd unit for this configuration"),
    ("whatif", "chappie.cli.whatif", "what happens when …, with the times of this configuration"),
    ("halt", "chappie.cli.halt", "the kill switch: latch, cancel every order of ours, verify"),
    ("alert", "chappie.cli.alert", "send a test alert to every configured channel"),
    ("resume", "chappie.cli.resume", "end a latched halt, or accept the venue's position"),
    ("replay", "chappie.cli.replay", "step a recorded run again and find the first divergence"),
    ("simulate", "chappie.cli.simulate", "bad nights on virtual time, each from a seed"),
)


_NAMES = tuple(name for name, _, _ in _COMMANDS)


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, with the code of a configuration that cannot run."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _open_standard_streams() -> None:
    """A process started with one of them closed would hand its number to the next file it opens,
    and what is meant for people would land there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="chappie",
        allow_abbrev=False,
        description="Runs a trading policy with real money while you sleep.",
    )
    parser.add_argument("--version", action="version", version=f"chappie {chappie.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, module_name, purpose in _COMMANDS:
        command = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        # Only the command that is asked for pays for its imports.
        if arguments[:1] == [name]:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    if not arguments or arguments[0] not in (*_NAMES, "-h", "--help", "--version"):
        parser.error(_no_command(arguments))
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(commands.choices[args.command], unknown[0])
    code = args.run(args)
    assert isinstance(code, int)
    return code


def _no_command(arguments: Sequence[str]) -> str:
    there = f"commands are {', '.join(_NAMES)}"
    if not arguments:
        return f"no command; {there}"
    word = arguments[0][:_SHOWN_MAX]
    if word.startswith("-"):
        return f"{word!r} stands where a command is expected, options come after it; {there}"
    return f"unknown command {word!r}{_guess(word, _NAMES)}; {there}"


def _refuse(command: argparse.ArgumentParser, argument: str) -> NoReturn:
    """What the command does not know, with the option that was probably meant."""
    # Whatever follows the equals sign is a value, and may be a secret.
    word = argument.partition("=")[0][:_SHOWN_MAX]
    if not word.startswith("-"):
        command.error(f"{word!r} is one argument too many")
    options = [text for action in command._actions for text in action.option_strings]
    command.error(f"unknown option {word!r}{_guess(word, options)}")


def _guess(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
