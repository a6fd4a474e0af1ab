"""What a step wants done, collected in the order in which it must happen."""

from chappie.model.commands import Command, Log


class Outbox:
    """The commands of the step under way."""

    __slots__ = ("commands",)

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def put(self, command: Command) -> None:
        self.commands.append(command)

    def log(self, level: str, event: str, **fields: object) -> None:
        """One line for the log."""
        self.commands.append(Log(level, event, fields))

    def take(self) -> list[Command]:
        """Everything so far, leaving the box empty."""
        commands = list(self.commands)
        self.commands.clear()
        return commands
