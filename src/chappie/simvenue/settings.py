"""What an account may set on its position: leverage, isolation, margin, risk limit."""

import math
from decimal import Decimal

import msgspec

from chappie.simvenue.account import Account, Position
from chappie.simvenue.changes import Refusal
from chappie.simvenue.margin import balance
from chappie.simvenue.pit import Pit
from chappie.simvenue.risk import insufficient

_LEVERAGE_MAX = 100
_REPLACE = msgspec.structs.replace


def _refuse(message: str) -> Refusal:
    return Refusal(400, message, "ValidationError")


def set_leverage(pit: Pit, owner: Account, leverage: float) -> None:
    """0 is cross margin; up to 100 isolates the position."""
    if not math.isfinite(leverage) or not 0 <= leverage <= _LEVERAGE_MAX:
        raise _refuse("Invalid leverage")
    centi = round(Decimal(str(leverage)) * 100)
    if leverage and not centi:
        raise _refuse("Invalid leverage")
    _set_mode(pit, owner, cross=not centi, leverage_centi=centi or 100 * _LEVERAGE_MAX)


def isolate(pit: Pit, owner: Account, *, enabled: bool) -> None:
    kept = owner.position.leverage_centi
    _set_mode(
        pit,
        owner,
        cross=not enabled,
        leverage_centi=kept if enabled else 100 * _LEVERAGE_MAX,
    )


def transfer_margin(pit: Pit, owner: Account, amount: int) -> None:
    """Move satoshi into an isolated position, or back out what was moved in before."""
    position = owner.position
    extra = position.extra_margin + amount
    if position.cross or not position.qty or extra < 0:
        raise _refuse("Invalid amount")
    _change(pit, owner, _REPLACE(position, extra_margin=extra))


def set_risk_limit(pit: Pit, owner: Account, risk_limit: int) -> None:
    if not 0 < risk_limit <= 10 * pit.contract.risk_limit:
        raise _refuse("Invalid riskLimit")
    _change(pit, owner, _REPLACE(owner.position, risk_limit=risk_limit))


def _set_mode(pit: Pit, owner: Account, *, cross: bool, leverage_centi: int) -> None:
    position = owner.position
    extra = 0 if cross else position.extra_margin
    _change(
        pit,
        owner,
        _REPLACE(position, cross=cross, leverage_centi=leverage_centi, extra_margin=extra),
    )


def _change(pit: Pit, owner: Account, position: Position) -> None:
    """Put a changed position in place unless the account cannot carry its margin."""
    before = owner.position
    owner.position = position
    state = balance(owner, pit.contract, pit.funding.mark_cents, pit.funding.rate_ppm)
    missing = state.init_margin + state.maint_margin - state.margin_balance
    if missing > 0:
        owner.position = before
        raise insufficient(missing)
    owner.has_position_row = True
    pit.turn.accounts[owner.number] = None
