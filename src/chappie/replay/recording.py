"""One run on disk: which segments hold it, what it was run with, and its records in order."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from chappie.journal.framing import Torn
from chappie.journal.journal import SUFFIX, segments
from chappie.journal.reader import read
from chappie.journal.records import Digest, Header
from chappie.model.config import Config
from chappie.model.events import Event
from chappie.model.units import At

Recorded: TypeAlias = tuple[At, Event | Digest]
"""What a run wrote down between the heads of its segments."""


class UnreadableError(Exception):
    """A run that cannot be stepped, or not beyond a place; the message is for the operator."""


class Recording:
    """One run. Iterating over it yields its records; afterwards ``torn`` says what the last
    segment lost at its end, by a power loss or because it is being written just now.
    """

    def __init__(self, paths: tuple[Path, ...], header: Header) -> None:
        self.paths = paths
        self.header = header
        self.torn: Torn | None = None

    @property
    def config(self) -> Config:
        """What the run was configured with. Raises `UnreadableError`."""
        return _config(self.header)

    def __iter__(self) -> Iterator[Recorded]:
        """Raises `UnreadableError` where the run cannot be read further."""
        for number, path in enumerate(self.paths, start=1):
            segment = read(path)
            at_head = True
            try:
                for at, entry in segment:
                    if isinstance(entry, Header) != at_head:
                        raise UnreadableError(f"{path}: a head of a segment out of its place")
                    if isinstance(entry, Header):
                        _expect(path, entry, self.header.epoch, number)
                        at_head = False
                    else:
                        yield at, entry
            except OSError as error:
                raise UnreadableError(f"{path}: {error.strerror or error}") from error
            torn = segment.torn
            if torn is not None and (number < len(self.paths) or not torn.at_tail):
                raise UnreadableError(
                    f"{path}: {torn.detail} at byte {torn.offset}: the run cannot be read beyond it"
                )
            self.torn = torn


def find(path: Path, epoch: int | None = None) -> Recording:
    """The run that a segment belongs to, or of a folder the newest or that of an epoch.

    A folder is a state folder or the journal in it. Raises `UnreadableError`.
    """
    if path.is_file():
        header = _head(path)
        if epoch is not None and epoch != header.epoch:
            raise UnreadableError(f"{path}: of epoch {header.epoch}, not {epoch}")
        later = [
            other
            for other in _run(path.parent, header.epoch)
            if _number(other) > header.segment and other.name != path.name
        ]
        return _whole([path, *later], header)
    folder = path / "journal" if (path / "journal").is_dir() else path
    epochs = _epochs(folder)
    if not epochs:
        raise UnreadableError(f"{folder}: no run is recorded here")
    if epoch is None:
        epoch = epochs[-1]
    elif epoch not in epochs:
        known = ", ".join(map(str, epochs))
        raise UnreadableError(f"{folder}: no run of epoch {epoch}; there are {known}")
    found = _run(folder, epoch)
    return _whole(found, _head(found[0]))


def _epochs(folder: Path) -> list[int]:
    names = (path.name.partition("-")[0] for path in segments(folder))
    return sorted({int(name) for name in names if name.isdecimal()})


def _run(folder: Path, epoch: int) -> list[Path]:
    """The segments of a run by their numbers; other files are not ours to read."""
    return [path for path in segments(folder, epoch) if _number(path)]


def _number(path: Path) -> int:
    text = path.name.removesuffix(SUFFIX).rpartition("-")[2]
    return int(text) if text.isdecimal() else 0


def _head(path: Path) -> Header:
    """The first record of a segment. Raises `UnreadableError`."""
    segment = read(path)
    try:
        first = next(iter(segment), None)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    if first is None:
        why = f"{segment.torn.detail} at byte {segment.torn.offset}" if segment.torn else "empty"
        raise UnreadableError(f"{path}: {why}")
    if not isinstance(first[1], Header):
        raise UnreadableError(f"{path}: it does not begin with the head of a segment")
    return first[1]


def _whole(paths: list[Path], header: Header) -> Recording:
    """The run from its first segment on, without a gap. Raises `UnreadableError`."""
    if header.segment != 1:
        raise UnreadableError(
            f"{paths[0]}: this is segment {header.segment} of its run, and a run cannot be stepped "
            "from its middle: begin with segment 1, if state.max_bytes has not dropped it"
        )
    for number, path in enumerate(paths[1:], start=2):
        if _number(path) != number:
            raise UnreadableError(f"{path}: segment {number} of this run is missing before it")
    return Recording(tuple(paths), header)


def _expect(path: Path, header: Header, epoch: int, number: int) -> None:
    if (header.epoch, header.segment) != (epoch, number):
        raise UnreadableError(
            f"{path}: its head says segment {header.segment} of epoch {header.epoch}, "
            f"not {number} of {epoch}"
        )


def _config(header: Header) -> Config:
    """The values that the head of a segment holds; a key that it lacks has its default."""
    tree: dict[str, object] = {}
    try:
        entries = msgspec.json.decode(header.config, type=dict[str, _Value])
        for key, entry in entries.items():
            *sections, name = key.split(".")
            table = tree
            for section in sections:
                table = table.setdefault(section, {})  # type: ignore[assignment]  # made here
            table[name] = entry.value
        return msgspec.convert(tree, Config)
    except msgspec.DecodeError as error:
        raise UnreadableError(
            f"the run was recorded by chappie {header.version} with a configuration that this "
            f"version cannot read: {error}"
        ) from error


class _Value(msgspec.Struct):
    """One value of the effective configuration; where it came from does not matter here."""

    value: object
