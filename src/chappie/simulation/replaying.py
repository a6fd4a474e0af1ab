"""Replaying the nights' journals: the real bytes through a fresh core must command the same."""

from chappie.core.core import Core
from chappie.journal.digest import CommandDigest
from chappie.journal.records import Digest, Header
from chappie.model.config import Config
from chappie.simulation.disk import Disk
from chappie.simulation.process import Process
from chappie.venues.bitmex.dialect import BitmexDialect


def divergence(config: Config, period_s: float, disk: Disk, process: Process) -> str:
    """Where a run's replay first differs from the run; empty when it does not.

    A journal may hold one event more than the run had steps (killed in between), or fewer (what a
    power loss tore off).
    """
    core = Core(config, BitmexDialect(config.venue.symbol), period_s)
    digest = CommandDigest()
    for at, entry in disk.journal(process.epoch):
        if isinstance(entry, Digest):
            if entry != digest.entry():
                return f"run {process.epoch}: digest {entry}, replayed {digest.entry()}"
            continue
        assert not isinstance(entry, Header)
        if digest.steps == len(process.marks):
            break
        digest.add(core.step(at, entry))
        if digest.entry().crc != process.marks[digest.steps - 1]:
            return f"run {process.epoch}: step {digest.steps}, {type(entry).__name__}"
    return ""
