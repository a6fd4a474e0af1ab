"""Which faults are active, what posture they demand together, and which one stops the process."""

import msgspec

from chappie.core.outbox import Outbox
from chappie.model.config import Config
from chappie.model.faults import FAULTS, After, Fault, Posture, StopReason
from chappie.model.units import At, seconds_ns


class ActiveFault(msgspec.Struct, frozen=True):
    """One fault about one subject (a stream's name, an order's id, or nothing)."""

    fault: Fault
    subject: str
    since_ns: int
    detail: str
    told: bool


class StopDue(msgspec.Struct, frozen=True):
    """A fault that reached its deadline."""

    reason: StopReason
    detail: str


_TIE_ORDER = {fault: rank for rank, fault in enumerate(Fault)}


class ActiveFaults:
    """The set of what is wrong. The posture follows from it; nobody assigns one."""

    def __init__(self, config: Config, outbox: Outbox) -> None:
        self._outbox = outbox
        self._active: dict[tuple[Fault, str], ActiveFault] = {}
        self._after_ns: dict[After, int | None] = {
            After.NEVER: None,
            After.AT_ONCE: 0,
            After.FEED_FAULT: seconds_ns(config.feed.fault_after_s),
            After.FEED_SYNC: seconds_ns(config.feed.sync_fault_after_s),
            After.ORDER_RESOLVE: seconds_ns(config.orders.resolve_within_s),
            After.RECONCILE: seconds_ns(config.reconcile.fault_after_s),
        }

    def raise_(
        self,
        fault: Fault,
        at: At,
        detail: str,
        subject: str = "",
        since_ns: int | None = None,
        told: bool = True,
        level: str = "warning",
    ) -> bool:
        """Note a fault; one that is active keeps the earlier beginning. True when it is new.

        ``told`` False: another line of the log says so already, for this and others together.
        ``level`` of the line: what is merely not known yet, at every start, warns nobody.
        """
        key = (fault, subject)
        known = self._active.get(key)
        since = at.now_ns if since_ns is None else since_ns
        if known is not None:
            since, told = min(known.since_ns, since), known.told
        self._active[key] = ActiveFault(fault, subject, since, detail, told)
        if known is None and told:
            self._outbox.log(level, "fault", fault=fault.value, subject=subject, detail=detail)
        return known is None

    def clear(self, fault: Fault, subject: str = "") -> bool:
        """End a fault; a latched one stays. True when one ended."""
        ended = None if FAULTS[fault].latches else self._active.pop((fault, subject), None)
        if ended is not None and ended.told:
            self._outbox.log("info", "fault_cleared", fault=fault.value, subject=subject)
        return ended is not None

    def since_ns(self, fault: Fault, subject: str = "") -> int | None:
        """When an active fault began."""
        active = self._active.get((fault, subject))
        return None if active is None else active.since_ns

    def has(self, fault: Fault, subject: str = "") -> bool:
        return (fault, subject) in self._active

    def __len__(self) -> int:
        return len(self._active)

    def all(self) -> list[ActiveFault]:
        """In table order, then by subject."""
        return sorted(self._active.values(), key=lambda f: (_TIE_ORDER[f.fault], f.subject))

    @property
    def posture(self) -> Posture:
        """The most careful posture that any active fault demands."""
        return max((FAULTS[f.fault].posture for f in self._active.values()), default=Posture.ACTIVE)

    @property
    def decides(self) -> bool:
        """Whether what is seen is true enough for the policy to be asked."""
        return all(FAULTS[f.fault].decides for f in self._active.values())

    @property
    def wants_withdrawal(self) -> bool:
        """Whether an active fault wants our resting orders gone."""
        rows = [FAULTS[f.fault] for f in self._active.values()]
        return any(row.posture >= Posture.CANCEL_ONLY and not row.rests for row in rows)

    def stop_due(self, now_ns: int) -> StopDue | None:
        """The fault that reached its deadline first; ties by table order."""
        due: list[tuple[int, int, str, StopDue]] = []
        for active in self._active.values():
            row = FAULTS[active.fault]
            after = self._after_ns[row.after]
            if row.stop is None or after is None or now_ns - active.since_ns < after:
                continue
            words = f"{active.subject}: {active.detail}" if active.subject else active.detail
            due.append(
                (
                    active.since_ns + after,
                    _TIE_ORDER[active.fault],
                    active.subject,
                    StopDue(row.stop, words),
                )
            )
        return min(due, key=lambda entry: entry[:3])[3] if due else None
