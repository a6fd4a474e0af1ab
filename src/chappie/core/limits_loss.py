"""Loss limits: the day's loss and fees, the drawdown from the peak, and refused orders (L6).

The result counts what is realised, paid in fees and funding, and not yet realised at the mark: a
losing position that is held for ever would otherwise never count. It comes from the ledger, so no
deposit changes it. What it is measured from is kept for good.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from chappie.core.ledger import Ledger
from chappie.model.config import HOUR_S, LimitsConfig
from chappie.model.enums import OrdStatus
from chappie.model.faults import StopReason
from chappie.model.instrument import Instrument
from chappie.model.records import Carried, Ended, Kept, LossBase, Stopped
from chappie.model.units import SECOND_NS, At, Minor, Ticks, seconds_ns

DAY_NS = 86_400 * SECOND_NS
_HOUR_NS = seconds_ns(HOUR_S)
DAILY_LOSS = "max_daily_loss"
DRAWDOWN = "max_drawdown"
DAILY_FEES = "max_daily_fees"
REJECTS = "max_rejects_per_hour"
_OF_THE_DAY = (DAILY_LOSS, DAILY_FEES)


class Result(msgspec.Struct, frozen=True, gc=False):
    """Where the account stands since its ledger began, in minor units; ``total`` has the fees."""

    total: int
    fees: int


def result(ledger: Ledger, instrument: Instrument, mark: Ticks | None) -> Result | None:
    """The result at the mark; None where it is not known: no mark, or no entry price."""
    unrealised = 0
    if ledger.qty:
        if mark is None or not ledger.entry_known:
            return None
        worth = instrument.value(ledger.qty, mark)
        # As an execution that closes it would cost, in the venue's sign (`Ledger`).
        long, inverse = ledger.qty > 0, instrument.is_inverse
        unrealised = -(ledger.cost + (worth if long == inverse else -worth))
    paid = ledger.fees + ledger.funding
    return Result(ledger.realised - paid + unrealised, ledger.fees)


class Losses:
    """What the limits are measured from, and which of them are reached."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._base: LossBase | None = None
        self._rejects: deque[tuple[str, int]] = deque()
        # A human's `resume` came after a limit was reached: it begins anew.
        self._forgives = False

    @property
    def is_measured(self) -> bool:
        """Whether any limit needs the result."""
        c = self._config
        return bool(c.max_daily_loss or c.max_drawdown or c.max_daily_fees)

    def restore(self, at: At, kept: Iterable[Kept], *, halted: bool) -> None:
        """Go on where earlier runs ended; ``halted``: the latch is still set."""
        resumed = False
        for record in kept:
            match record:
                case Carried():
                    self._base = record.loss_base
                case LossBase():
                    self._base, resumed = record, False
                case Ended():
                    self._ended(record, at.now_ns - max(0, at.wall_ns - record.wall_ns))
                case Stopped() if record.reason == StopReason.HALTED.word:
                    resumed = True
                    self._rejects.clear()
                case _:
                    pass
        self._forgives = resumed and not halted

    def note(self, at: At, record: Kept) -> None:
        """A record of this moment."""
        if isinstance(record, Ended):
            self._ended(record, at.now_ns)

    def _ended(self, ended: Ended, at_ns: int) -> None:
        never_was = ended.ord_status is None or ended.ord_status is OrdStatus.REJECTED
        if never_was and all(name != ended.cl_ord_id for name, _ in self._rejects):
            self._rejects.append((ended.cl_ord_id, at_ns))

    def refused(self, at: At) -> str | None:
        """In words, that too many orders were refused within the last hour."""
        while self._rejects and self._rejects[0][1] <= at.now_ns - _HOUR_NS:
            self._rejects.popleft()
        most, count = self._config.max_rejects_per_hour, len(self._rejects)
        if not most or count < most:
            return None
        return f"{count} orders refused within an hour, {most} are allowed"

    def measure(self, at: At, now: Result, *, sure: bool) -> LossBase | None:
        """Hold a result against the limits; what is then to be kept, None when nothing changed.

        ``sure``: nothing is wrong that may make ledger or clock untrue. Only then a day begins.
        """
        before = base = self._base
        day = at.wall_ns // DAY_NS
        if base is None:
            if not sure:
                return None
            base = LossBase(at.wall_ns, day, Minor(now.total), Minor(now.fees), Minor(now.total))
        if self._forgives and sure:
            self._forgives = False
            base = _forgiven(base, now)
        if day > base.day and sure:
            lasting = tuple(one for one in base.reached if one not in _OF_THE_DAY)
            base = msgspec.structs.replace(
                base, day=day, total=Minor(now.total), fees=Minor(now.fees), reached=lasting
            )
        if now.total >= base.peak + self._peak_step and self._config.max_drawdown:
            base = msgspec.structs.replace(base, peak=Minor(now.total))
        used = self._used(base, now)
        new = tuple(
            key for key, (spent, most) in used.items() if spent >= most and key not in base.reached
        )
        if new:
            base = msgspec.structs.replace(base, reached=base.reached + new)
        if base is before:
            return None
        self._base = msgspec.structs.replace(base, wall_ns=at.wall_ns)
        return self._base

    @property
    def _peak_step(self) -> int:
        """The peak moves in steps of a hundredth of the limit, so that the log holds few of them;
        by so much the limit is reached early, now and after a restart alike.
        """
        return max(1, self._config.max_drawdown // 100)

    def _used(self, base: LossBase, now: Result) -> dict[str, tuple[int, int]]:
        """By limit, how much of it is spent, and how much may be."""
        c = self._config
        all_of_them = {
            DAILY_LOSS: (base.total - now.total, c.max_daily_loss),
            DRAWDOWN: (base.peak + self._peak_step - now.total, c.max_drawdown),
            DAILY_FEES: (now.fees - base.fees, c.max_daily_fees),
        }
        return {key: spent for key, spent in all_of_them.items() if spent[1]}

    def reached(self, now: Result | None) -> dict[str, str]:
        """By limit, what was reached and has not ended since, in words."""
        base = self._base
        if base is None:
            return {}
        used = {} if now is None else self._used(base, now)
        words = {}
        for key in base.reached:
            if getattr(self._config, key):
                spent, most = used.get(key, (None, getattr(self._config, key)))
                shown = "reached" if spent is None else f"now at {spent}"
                words[key] = f"{shown}, limits.{key} is {most}"
        return words


def _forgiven(base: LossBase, now: Result) -> LossBase:
    """What was reached is measured from here on; what was not goes on."""
    total = Minor(now.total) if DAILY_LOSS in base.reached else base.total
    fees = Minor(now.fees) if DAILY_FEES in base.reached else base.fees
    peak = Minor(now.total) if DRAWDOWN in base.reached else base.peak
    return msgspec.structs.replace(base, total=total, fees=fees, peak=peak, reached=())
