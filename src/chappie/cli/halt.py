"""`chappie halt`: the kill switch. It latches first and asks afterwards, and never refuses over
configuration.

With a guardian that answers, the guardian does the rest. Without one, or with one that hangs, it
is done here: the trader sees the latch by itself, one that does not end is killed, and the account
is read over a connection of our own.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from chappie.cli import account, asking, lenient, settings
from chappie.cli.account import Account
from chappie.cli.asking import SilentError
from chappie.cli.settings import ConfigProblem, Settings
from chappie.guardian import last_stop
from chappie.guardian.errands.vigil import fence_s
from chappie.guardian.hand import Access, Hand
from chappie.guardian.holder import Holder, holder_of
from chappie.guardian.instance import (
    TRADER_LOCK_FILE,
    guardian_is_there,
    read_run,
    trader_is_there,
)
from chappie.guardian.venue import VenueFailedError
from chappie.guardian.ward import HaltDone
from chappie.journal.framing import JournalError
from chappie.live import latch
from chappie.live.log import printable
from chappie.live.state_dir import LastStop

_NOT_DONE = 1
_REASON_MAX = 300
_REASON = "the operator halted from the command line"
_HEALTHY_WITHIN_S = 3.0
# The sum of the guardian's own bounds, and a little.
_DONE_WITHIN_S = 60.0
_FLAT_WITHIN_S = 130.0
_TRADER_ENDS_WITHIN_S = 8.0
_TRADER_FLAT_WITHIN_S = 28.0
_DEAD_WITHIN_S = 2.0
_SWEEP_S = 10.0
_FLATTEN_S = 25.0
_LOOK_EVERY_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="why; it is kept with the halt"
    )
    parser.add_argument(
        "--flatten",
        action="store_true",
        help="afterwards close the position with one reduce-only order; needs bot.allow_trade",
    )


def run(args: argparse.Namespace) -> int:
    """0 when it is latched, obeyed and verified; else 1, and one line for each that is missing."""
    chosen, problem = lenient.load(args.config, args.sets, os.environ)
    state_dir = Path(chosen.config.state.dir)
    if problem is not None:
        _warn(f"the configuration is broken ({problem}); halting in {state_dir} all the same")
    reason = printable(args.reason).strip()[:_REASON_MAX] or _REASON
    # The stop that is there before: a newer one is the trader's answer to this halt.
    before = last_stop.stamp(state_dir)
    unlatched = _latch(state_dir, reason)
    done = _by_guardian(state_dir, reason, args.flatten)
    if done is None:
        done = _by_hand(chosen, state_dir, args.flatten, unlatched, before)
    return _tell(state_dir, done)


def _latch(state_dir: Path, reason: str) -> str:
    """Latch, and say what kept it from being latched; empty when it is."""
    try:
        if not state_dir.is_dir():
            state_dir.mkdir(parents=True)
            _warn(f"{state_dir}: there was no state folder here; it is made, with the latch in it")
        halt = latch.set_(state_dir, reason)
    except (OSError, JournalError) as error:
        _warn(f"the latch could not be written: {error}")
        return str(error)
    print(f"latched: {printable(halt.words)} ({state_dir / latch.FILE})", flush=True)
    return ""


# --- with a guardian


def _by_guardian(state_dir: Path, reason: str, flatten: bool) -> HaltDone | None:
    """What the guardian says it did; None when it must be done without it."""
    run = read_run(state_dir)
    if run is None or run.operator is None or not guardian_is_there(state_dir):
        return None
    within_s = _FLAT_WITHIN_S if flatten else _DONE_WITHIN_S
    try:
        # One that hangs must not cost more than this.
        asking.get(run, "/healthz", _HEALTHY_WITHIN_S)
        body = {"flatten": flatten, "reason": reason}
        status, answer = asking.post(run, "/api/halt", body, state_dir, within_s)
        if status not in (200, 409, 504):
            _warn(f"the guardian (pid {run.pid}) refuses: {printable(answer.decode()[:300])}")
            return None
        return msgspec.json.decode(answer, type=HaltDone)
    except (SilentError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _warn(f"{error}; going on without it")
        return None


# --- without one


def _by_hand(
    chosen: Settings,
    state_dir: Path,
    flatten: bool,
    unlatched: str,
    before: last_stop.Stamp | None,
) -> HaltDone:
    run = read_run(state_dir)
    allow_trade = chosen.config.bot.allow_trade
    missing = [f"the latch is not on disk: {unlatched}"] if unlatched else []
    ended, killed = _end_trader(state_dir, flatten and allow_trade, bool(unlatched))
    if not ended:
        missing.append("the trader neither ended nor is it proven dead")
    stop = None if killed else _stop_since(state_dir, before)
    position: int | None = None
    orders: int | None = None
    flattened: bool | None = False if flatten else None
    verified = ended and stop is not None and stop.known and not stop.orders
    why = ""
    if verified:
        assert stop is not None, "verified by it"
        orders, position = 0, stop.position
    last = stop or last_stop.read(state_dir)
    # Killed, here or before, or not sure of its own end: its last request may be on its way.
    died = stop is None and run is not None
    may_arrive = killed or died or (last is not None and not last.known)
    needs_order = flatten and allow_trade and ended and position != 0
    if not verified or needs_order:
        try:
            with account.of(state_dir, run, chosen) as there:
                verified, orders, position, why, closed = asyncio.run(
                    _read(there, state_dir, may_arrive, needs_order)
                )
                flattened = closed if needs_order else flattened
        except (ConfigProblem, VenueFailedError) as error:
            why = str(error)
        # The outermost edge: a bug of ours must not take the words for what is missing along.
        except Exception as error:  # noqa: BLE001
            why = f"a bug in this command: {error!r}"
    if not verified:
        missing.append(f"no read shows that none of our orders works: {why}")
    if flatten and not allow_trade:
        missing.append("the flatten is refused: bot.allow_trade is off; the halt holds")
    elif flatten and verified and position == 0:
        flattened = True
    elif flatten:
        missing.append(f"not flattened: {why or 'an order of ours may still work'}")
    return HaltDone(not unlatched, ended, verified, flattened, orders, position, missing)


async def _read(
    there: Account, state_dir: Path, may_arrive: bool, close: bool
) -> tuple[bool, int | None, int | None, str, bool]:
    """Verified, orders of ours, position, why not, and whether the position was closed."""
    access = Access(there.config.venue.rest_url, there.key, there.secret)
    hand = Hand(there.config, state_dir, lambda: access, _says)
    left = await hand.leave_nothing(_SWEEP_S)
    if may_arrive:
        # The last request of a dead trader may have arrived after that read (promise 6).
        await asyncio.sleep(fence_s(there.config))
        left = await hand.leave_nothing(_SWEEP_S)
    if not close or not left.verified or left.position == 0:
        return left.verified, left.ours, left.position, left.detail, left.position == 0
    flat = await hand.flatten(_FLATTEN_S)
    return left.verified, left.ours, flat.position, flat.detail, flat.done


def _end_trader(state_dir: Path, flatten: bool, unlatched: bool) -> tuple[bool, bool]:
    """Whether no trader is left, and whether it was killed for that."""
    if not trader_is_there(state_dir):
        print("no trader runs here")
        return True, False
    holder = holder_of(state_dir / TRADER_LOCK_FILE)
    with contextlib.closing(holder) if holder else contextlib.nullcontext():
        if holder is None:
            if trader_is_there(state_dir):
                _warn("which process the trader is cannot be told: it is only waited for")
        elif flatten:
            holder.send(signal.SIGUSR2)
        elif unlatched:
            # There is no file for it to see.
            holder.send(signal.SIGUSR1)
        within_s = _TRADER_FLAT_WITHIN_S if flatten else _TRADER_ENDS_WITHIN_S
        if _is_gone(state_dir, within_s):
            print("the trader obeyed and ended")
            return True, False
        return _kill(state_dir, holder), True


def _kill(state_dir: Path, holder: Holder | None) -> bool:
    if holder is None:
        return False
    _warn(f"the trader (pid {holder.pid}) did not end: it is killed")
    holder.send(signal.SIGKILL)
    return _is_gone(state_dir, _DEAD_WITHIN_S)


def _is_gone(state_dir: Path, within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while trader_is_there(state_dir):
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _stop_since(state_dir: Path, before: last_stop.Stamp | None) -> LastStop | None:
    """The stop that was written since this command began."""
    return None if last_stop.stamp(state_dir) == before else last_stop.read(state_dir)


# --- words


def _tell(state_dir: Path, done: HaltDone) -> int:
    """What holds goes to the output, what does not to the errors: one line each."""
    if done.acknowledged:
        print("the trader obeys, or is proven dead: nothing new is sent")
    if done.verified:
        position = "unknown" if done.position is None else f"{done.position:+d}"
        print(f"verified: a read shows no order of ours; position {position}")
    if done.flattened:
        print("flattened: the position is closed")
    sys.stdout.flush()
    for words in done.missing:
        print(f"missing: {printable(words)}", file=sys.stderr)
    if done.latched:
        print("it holds until: chappie resume --reason TEXT")
    holds = done.latched and done.acknowledged and done.verified and not done.missing
    return 0 if holds else _NOT_DONE


def _warn(words: str) -> None:
    print(f"warning: {printable(words)}", file=sys.stderr, flush=True)


def _says(level: str, event: str, **fields: object) -> None:
    """What happens at the venue on the way is told where it is no good."""
    if level != "info":
        _warn(" ".join([event, *(f"{name}={value}" for name, value in fields.items())]))
