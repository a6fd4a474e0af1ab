"""The command `chappie`: its subcommands, each imported only when it runs."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import chappie

_USAGE = 64

# (name, module, what it does); a module has `add_arguments(parser)` and `run(args) -> int`.
_COMMANDS = (
    ("up", "chappie.cli.up", "start the guardian, which starts and watches the trader"),
    ("trade", "chappie.cli.trade", "the trader process alone, for another supervisor"),
    ("venue", "chappie.cli.venue", "the simulated venue as a server on loopback"),
    ("simulate", "chappie.cli.simulate", "bad nights on virtual time, each from a seed"),
    ("status", "chappie.cli.status", "what the running instance does and knows"),
    ("resume", "chappie.cli.resume", "end a latched halt, or accept the venue's position"),
    ("replay", "chappie.cli.replay", "step a recorded run again and find the first divergence"),
)


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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module_name, purpose in _COMMANDS:
        # Only the command that is asked for pays for its imports.
        wanted = name in arguments
        command = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        if wanted:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    code = args.run(args)
    assert isinstance(code, int)
    return code
