"""What a step wants done, collected in the order in which it must happen."""

from chappie.model.commands import Command, Keep, Log
from chappie.model.records import Kept


class Outbox:
    """The commands of the step under way, and the records that nobody counted yet."""

    __slots__ = ("_records", "commands")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self._records: list[Kept] = []

    def put(self, command: Command) -> None:
        self.commands.append(command)
        if isinstance(command, Keep):
            self._records.append(command.record)

    def log(self, level: str, event: str, **fields: object) -> None:
        """One line for the log."""
        self.commands.append(Log(level, event, fields))

    def take(self) -> list[Command]:
        """Everything so far, leaving the box empty."""
        commands = list(self.commands)
        self.commands.clear()
        return commands

    def take_records(self) -> list[Kept]:
        """What was put aside to be kept since the last time, for whoever counts it."""
        records = list(self._records)
        self._records.clear()
        return records
