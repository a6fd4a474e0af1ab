"""Fills booked once, and what they make of the position (control O10).

This is where a fill changes the position: `Ledger.book`.
"""

from collections import deque

from chappie.model.instrument import Instrument
from chappie.model.records import Adjusted, Carried, Fill, FundingPaid, Opening
from chappie.model.units import Contracts, Minor

_AVERAGE_DIGITS = 4  # as the venue shows it
_SHOWN = 20


class Ledger:
    """Position, entry cost, realised result, fees and funding, in minor units.

    ``cost`` carries the venue's sign (inverse: negative for a long), so that closing yields
    ``-(entry cost + exit cost)`` for every kind of contract.
    """

    def __init__(self) -> None:
        self.qty = Contracts(0)
        self.cost = Minor(0)
        self.realised = Minor(0)
        self.fees = Minor(0)
        self.funding = Minor(0)
        self.fills = 0
        self.last_fill_ns = 0
        # For people; nothing is decided by it.
        self.newest: deque[Fill] = deque(maxlen=_SHOWN)
        # The venue's time of the fill that opened what is held; 0 when flat, or not known.
        self.held_since_ns = 0
        self.opened = False
        # False after an adjustment that names no cost: then nothing is realised before flat.
        self.entry_known = True
        self._seen: set[str] = set()
        self._booked: dict[str, int] = {}

    def open_with(self, opening: Opening) -> None:
        """Take over the position that was there before the first fill."""
        assert not self.opened, "an opening comes once"
        assert self.fills == 0, "an opening comes before any fill"
        self.qty = opening.qty
        self.cost = opening.cost
        self.held_since_ns = opening.wall_ns if opening.qty else 0
        self.opened = True

    def adjust(self, adjusted: Adjusted) -> None:
        """Go on from the position that the operator accepted; what was realised stays so."""
        self._held(self.qty, adjusted.qty, adjusted.wall_ns)
        self.qty = adjusted.qty
        self.cost = Minor(0) if adjusted.cost is None else adjusted.cost
        self.entry_known = adjusted.cost is not None or adjusted.qty == 0
        self.opened = True

    def go_on_from(self, carried: Carried) -> None:
        """Begin with the sum of earlier records; their execIDs are forgotten."""
        assert not self.opened, "a sum comes before anything that it does not hold"
        assert self.fills == 0, "a sum comes before any fill"
        self.qty = carried.qty
        self.cost = carried.cost
        self.realised = carried.realised
        self.fees = carried.fees
        self.funding = carried.funding
        self.fills = carried.fills
        self.last_fill_ns = carried.last_fill_ns
        self.held_since_ns = carried.held_since_ns
        self.opened = carried.opened
        self.entry_known = carried.entry_known

    def knows(self, exec_id: str) -> bool:
        return exec_id in self._seen

    def book(self, fill: Fill) -> bool:
        """Book a fill; False when its execID was booked before, from whichever source."""
        if fill.exec_id in self._seen:
            return False
        self._seen.add(fill.exec_id)
        self._booked[fill.cl_ord_id] = self._booked.get(fill.cl_ord_id, 0) + fill.qty
        self.fills += 1
        self.newest.append(fill)
        self.fees = Minor(self.fees + fill.fee)
        self.last_fill_ns = max(self.last_fill_ns, fill.venue_ns)
        change = fill.side.sign * fill.qty
        closing = min(abs(self.qty), fill.qty) if self.qty * change < 0 else 0
        # The closed part leaves with its share of the entry cost; what is left of the fill opens
        # or increases at its share of the fill's cost.
        entry = _share(self.cost, closing, abs(self.qty)) if closing else 0
        exit_ = _share(fill.cost, closing, fill.qty)
        if self.entry_known:
            self.realised = Minor(self.realised - entry - exit_)
            self.cost = Minor(self.cost - entry + fill.cost - exit_)
        elif closing == abs(self.qty):
            self.entry_known = True
            self.cost = Minor(fill.cost - exit_)
        self._held(self.qty, self.qty + change, fill.venue_ns)
        self.qty = Contracts(self.qty + change)
        return True

    def _held(self, before: int, after: int, when_ns: int) -> None:
        """Since when there is a position on this side."""
        if before * after <= 0:
            self.held_since_ns = when_ns if after else 0

    def pay(self, paid: FundingPaid) -> bool:
        """Book a funding payment once; it never changes the position."""
        if paid.exec_id in self._seen:
            return False
        self._seen.add(paid.exec_id)
        self.funding = Minor(self.funding + paid.fee)
        return True

    def booked(self, cl_ord_id: str) -> int:
        """Contracts booked for one order."""
        return self._booked.get(cl_ord_id, 0)

    def average_entry(self, instrument: Instrument) -> float | None:
        """Average entry price in quote currency, for people; None when flat.

        Costs are whole minor units, so further digits would say nothing.
        """
        if self.qty == 0 or self.cost == 0 or not self.entry_known:
            return None
        size = abs(instrument.multiplier)
        if instrument.is_inverse:
            return round(abs(self.qty) * size / abs(self.cost), _AVERAGE_DIGITS)
        return round(abs(self.cost) / (abs(self.qty) * size), _AVERAGE_DIGITS)


def _share(total: int, part: int, whole: int) -> int:
    """``total * part / whole``, rounded half away from zero; exact when part is the whole."""
    magnitude = (2 * abs(total) * part + whole) // (2 * whole)
    return magnitude if total >= 0 else -magnitude
