"""The control routes: faults at run time, the log of requests, and the exchange's truth.

They are no part of the venue's API and are served to loopback only. `GET /control` says what
there is.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec

from chappie.simvenue.envelopes import Json
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.faults import Fault, FaultError, Faults, describe
from chappie.simvenue.requestlog import RequestLog
from chappie.simvenue.sessions import Session
from chappie.simvenue.stamps import stamp
from chappie.simvenue.streams import Streams
from chappie.simvenue.throttle import Throttle
from chappie.simvenue.timeline import Timeline

_ROUTES = {
    "GET /control": "this list",
    "GET /control/faults": "what is armed, and every fault there is",
    "POST /control/faults": "arm one fault (an object) or several (a list)",
    "DELETE /control/faults": "clear all, or ?number=N, or ?fault=NAME",
    "GET /control/requests": "the log of requests; ?since=NUMBER&account=N",
    "GET /control/truth": "orders, executions, position, margin and wallet; ?account=N",
    "GET /control/connections": "the open websockets and what they listen to",
    "POST /control/lift": "forget every ban and counted error",
}


class Control:
    """The levers of one venue."""

    def __init__(
        self,
        timeline: Timeline,
        faults: Faults,
        throttle: Throttle,
        streams: Streams,
        log: RequestLog,
        exchange: Exchange,
        standing_changed: Callable[[], None],
    ) -> None:
        self._timeline = timeline
        self._faults = faults
        self._throttle = throttle
        self._streams = streams
        self._log = log
        self._exchange = exchange
        self._standing_changed = standing_changed

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Json]:
        """Status and body of one control request."""
        values = dict(parse_qsl(query))
        name = f"{method} {path.rstrip('/')}"
        try:
            if name == "GET /control":
                return 200, {"routes": _ROUTES}
            if name == "GET /control/faults":
                return 200, self._state()
            if name == "POST /control/faults":
                return self._arm(body)
            if name == "DELETE /control/faults":
                return self._clear(values)
            if name == "GET /control/requests":
                account = int(values["account"]) if "account" in values else None
                return 200, self._log.rows(int(values.get("since", "0")), account)
            if name == "GET /control/truth":
                return self._truth(values)
            if name == "GET /control/connections":
                return 200, self._connections()
            if name == "POST /control/lift":
                self._throttle.lift_bans()
                return 200, {"lifted": True}
        except (ValueError, KeyError) as wrong:
            return 400, {"error": f"bad argument: {wrong}"}
        return 404, {"error": "unknown control route", "routes": _ROUTES}

    def _state(self) -> Json:
        now_ns = self._timeline.now_ns
        return {"armed": self._faults.state(now_ns), "known": describe()}

    def _arm(self, body: bytes) -> tuple[int, Json]:
        try:
            wanted = msgspec.json.decode(body, type=Fault | list[Fault])
        except msgspec.MsgspecError as wrong:
            return 400, {"error": f"not a fault: {wrong}"}
        now_ns = self._timeline.now_ns
        numbers: list[int] = []
        try:
            for fault in wanted if isinstance(wanted, list) else [wanted]:
                numbers.append(self._faults.arm(now_ns, fault))
                self._do_once(fault)
                self._plan_end(fault)
        except FaultError as wrong:
            return 400, {"error": str(wrong), "armedNow": numbers}
        return 200, {"numbers": numbers, "armed": self._faults.state(now_ns)}

    def _clear(self, values: dict[str, str]) -> tuple[int, Json]:
        number = int(values["number"]) if "number" in values else None
        cleared = self._faults.clear(number=number, name=values.get("fault"))
        return 200, {"cleared": cleared, "armed": self._faults.state(self._timeline.now_ns)}

    def _plan_end(self, fault: Fault) -> None:
        """A standing fault that ends by itself has to be noticed when it does."""
        if fault.for_ms is not None and fault.fault in ("skew_clock", "instrument_state"):
            ends_ns = self._timeline.now_ns + fault.for_ms * 1_000_000
            self._timeline.later(ends_ns, self._standing_changed)

    def _do_once(self, fault: Fault) -> None:
        if fault.fault == "drain_budget" and fault.account is not None:
            self._throttle.drain(self._timeline.now_ns, fault.account)
        for session in self._meant(fault):
            if fault.fault == "cut":
                self._streams.close(session, 1006)
            elif fault.fault == "close":
                self._streams.close(session, fault.status or 1012, fault.text or "")
            elif fault.fault == "unknown_table":
                self._streams.send_unknown_table(session)
            elif fault.fault == "huge_partial":
                self._streams.send_huge_image(session, fault.table or "orderBookL2")

    def _meant(self, fault: Fault) -> list[Session]:
        return [
            session
            for session in list(self._streams.sessions.values())
            if fault.conn in (None, session.conn) and fault.account in (None, session.account)
        ]

    def _truth(self, values: dict[str, str]) -> tuple[int, Json]:
        exchange = self._exchange
        known = list(exchange.pit.accounts)
        if "account" not in values:
            return 400, {"error": "?account= is needed", "accounts": known}
        account = int(values["account"])
        if account not in known:
            return 400, {"error": f"there is no account {account}", "accounts": known}
        return 200, {
            "at": stamp(self._timeline.now_ns),
            "account": account,
            "orders": exchange.orders(account),
            "executions": exchange.executions(account),
            "position": exchange.positions(account),
            "margin": exchange.margin(account, "XBt"),
            "wallet": exchange.wallet(account),
        }

    def _connections(self) -> Json:
        return [
            {
                "conn": session.conn,
                "account": session.account,
                "peer": session.peer,
                "openedAt": stamp(session.opened_ns),
                "heardAt": stamp(session.heard_ns),
                "topics": list(session.topics),
            }
            for session in self._streams.sessions.values()
        ]
