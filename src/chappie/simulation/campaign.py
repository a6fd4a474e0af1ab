"""Many seeds over many cores, and the report.

The one module of the simulation with processes and a clock; what a seed comes to depends on
neither.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from chappie.simulation.faults import KINDS
from chappie.simulation.night import HOURS, Result, night

# A kind that is drawn this rarely must strike in a campaign of so many seeds.
KINDS_FROM_SEEDS = 200


class Report(msgspec.Struct):
    """What a campaign came to."""

    seeds: int = 0
    virtual_s: float = 0.0
    core_s: float = 0.0
    real_s: float = 0.0
    orders: int = 0
    fills: int = 0
    calm_s: float = 0.0
    calm_seed: int = 0
    fired: dict[str, int] = {}
    restarts: dict[str, int] = {}
    failed: list[Result] = []

    def add(self, result: Result, core_s: float) -> None:
        self.seeds += 1
        self.virtual_s += result.virtual_s
        self.core_s += core_s
        self.orders += result.orders
        self.fills += result.fills
        if result.calm_s > self.calm_s:
            self.calm_s, self.calm_seed = result.calm_s, result.seed
        for name, count in result.fired.items():
            self.fired[name] = self.fired.get(name, 0) + count
        for name, count in result.restarts.items():
            self.restarts[name] = self.restarts.get(name, 0) + count
        if result.violations:
            self.failed.append(result)

    @property
    def never_fired(self) -> list[str]:
        """Kinds that no seed saw; few seeds cannot see them all."""
        if self.seeds < KINDS_FROM_SEEDS:
            return []
        return [kind.name for kind in KINDS if not self.fired.get(kind.name)]

    @property
    def passed(self) -> bool:
        return not self.failed and not self.never_fired

    def lines(self) -> Iterator[str]:
        """The report, in words."""
        speed = self.virtual_s / self.core_s if self.core_s else 0.0
        yield f"seeds            {self.seeds}, {len(self.failed)} failed"
        yield f"virtual time     {self.virtual_s / 3600:.1f} h, in {self.real_s:.1f} s"
        yield f"speed            {speed:.0f} x real time per core"
        yield f"orders           {self.orders}"
        yield f"fills            {self.fills}"
        yield f"slowest calm     {self.calm_s:.1f} s, seed {self.calm_seed}"
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.restarts.items()))
        yield f"ends             {ends}"
        yield "faults fired"
        for kind in KINDS:
            yield f"  {kind.name:17s}{self.fired.get(kind.name, 0)}"
        for name in self.never_fired:
            yield f"FAILED: {name} never fired"


def campaign(
    seeds: Sequence[int], hours: float = HOURS, jobs: int = 1
) -> Iterator[Result | Report]:
    """The night of each seed, in order of the seeds, and the report at the end."""
    report = Report(fired={}, restarts={}, failed=[])
    began_s = time.monotonic()
    for result, core_s in _nights(seeds, hours, jobs):
        report.add(result, core_s)
        yield result
    report.real_s = time.monotonic() - began_s
    yield report


def _nights(seeds: Sequence[int], hours: float, jobs: int) -> Iterator[tuple[Result, float]]:
    one = partial(_timed, hours)
    if jobs <= 1 or len(seeds) <= 1:
        yield from map(one, seeds)
        return
    # Each worker starts from nothing, so that no seed sees what another one left.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(jobs, len(seeds))) as pool:
        yield from pool.imap(one, seeds)


def _timed(hours: float, seed: int) -> tuple[Result, float]:
    began_s = time.process_time()
    result = night(seed, hours)
    return result, time.process_time() - began_s
