"""The REST client on the wire: once or not at all, exactly the bytes that were signed."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest

from chappie.live import clock
from chappie.live import rest as rest_module
from chappie.live.redact import Redactor
from chappie.live.rest import RestClient
from chappie.model.commands import HttpCall, SendCall, SendOrder
from chappie.model.enums import Lane
from chappie.model.events import Answered, Event, Unanswered
from chappie.model.invariant import InvariantViolated
from chappie.model.units import MILLISECOND_NS, SECOND_NS
from tests.live.fakes import PlainSigner, send_order
from tests.live.wire import (
    OK,
    Answer,
    WireServer,
    answer_never,
    answer_ok,
    answer_with,
    hang_up,
)

SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


def wall_s() -> int:
    return clock.now().wall_ns // SECOND_NS


class Rig:
    def __init__(self, port: int, *, allow_trade: bool = True) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.crashes: list[BaseException] = []
        self.client = RestClient(
            f"http://127.0.0.1:{port}/api/v1",
            PlainSigner(),
            Redactor(SECRET),
            self.events.put_nowait,
            self.crashes.append,
            clock.now,
            creates_or_amends=lambda call: call.method in ("POST", "PUT"),
            allow_trade=allow_trade,
        )

    def call(
        self,
        method: str = "GET",
        path: str = "/order",
        *,
        request_id: int = 1,
        lane: Lane = Lane.RECONCILE,
        body: bytes = b"",
        signed: bool = True,
        expires_in_s: int = 5,
        within_ns: int = 2 * SECOND_NS,
    ) -> None:
        call = HttpCall(method, path, body, signed)
        self.client.send(SendCall(request_id, lane, call, wall_s() + expires_in_s, within_ns))

    async def event(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 10)


def on_wire(answer: Answer, test: Callable[[Rig, WireServer], Awaitable[None]]) -> None:
    async def run() -> None:
        async with WireServer(answer) as server:
            rig = Rig(server.port)
            await test(rig, server)
            await rig.client.close()
            assert rig.crashes == []
            assert rig.events.empty()

    asyncio.run(run())


def test_path_query_and_body_arrive_exactly_as_they_were_signed() -> None:
    path = "/order?filter=%7B%22open%22%3A+true%7D&x=a%2fb,c&y=%E2%82%AC"

    async def test(rig: Rig, server: WireServer) -> None:
        rig.call("DELETE", path, body=b'{"clOrdID":["a b"] }')
        await rig.event()
        (request,) = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(f"DELETE /api/v1{path} HTTP/1.1\r\n".encode())
        assert body == b'{"clOrdID":["a b"] }'
        lines = head.lower().split(b"\r\n")
        assert b"content-type: application/json" in lines
        assert [line for line in lines if line.startswith(b"x-signed: delete /api/v1/order?")]

    on_wire(answer_ok, test)


def test_an_unsigned_call_carries_no_signature() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(path="/instrument", signed=False)
        await rig.event()
        assert b"x-signed" not in server.requests[0]

    on_wire(answer_ok, test)


def test_an_answer_keeps_the_headers_that_matter_and_no_secret() -> None:
    raw = (
        b"HTTP/1.1 429 Too Many Requests\r\nDate: Mon\r\nX-RateLimit-Remaining: 0\r\n"
        b"Retry-After: 7\r\nSet-Cookie: a=b\r\nServer: x\r\nContent-Length: 50\r\n\r\n["
        + SECRET.encode()
        + b"]"
    )

    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(request_id=9)
        assert await rig.event() == Answered(
            9, 429, {"date": "Mon", "x-ratelimit-remaining": "0", "retry-after": "7"}, b"[***]"
        )
        # A cookie is not carried to the next request.
        rig.call()
        await rig.event()
        assert b"cookie" not in server.requests[1].lower()

    on_wire(answer_with(raw), test)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    raw = b"HTTP/1.1 307 Elsewhere\r\nLocation: /stolen\r\nContent-Length: 0\r\n\r\n"

    async def test(rig: Rig, server: WireServer) -> None:
        rig.call()
        event = await rig.event()
        assert isinstance(event, Answered)
        assert event.status == 307
        assert len(server.requests) == 1

    on_wire(answer_with(raw), test)


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS"])
def test_a_request_whose_kept_connection_breaks_is_not_repeated(method: str) -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(request_id=1)
        assert isinstance(await rig.event(), Answered)
        rig.call(method, request_id=2)
        event = await rig.event()
        assert isinstance(event, Unanswered)
        assert event.sent
        assert server.connections == 1
        assert len(server.requests) == 2

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        first = not getattr(writer, "was_used", False)
        writer.was_used = True  # type: ignore[attr-defined]  # a mark of this test's own
        await (answer_ok if first else hang_up)(request, writer)

    on_wire(answer, test)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_order_whose_kept_connection_breaks_is_not_repeated(method: str) -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(request_id=1)
        assert isinstance(await rig.event(), Answered)
        rig.client._creates_or_amends = lambda call: False
        rig.call(method, request_id=2, body=b"{}")
        event = await rig.event()
        assert isinstance(event, Unanswered)
        assert event.sent
        assert len(server.requests) == 2

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        await (answer_ok if request.startswith(b"GET") else hang_up)(request, writer)

    on_wire(answer, test)


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            rig = Rig(taken.getsockname()[1])
            rig.call(request_id=3)
            event = await rig.event()
            assert isinstance(event, Unanswered)
            assert not event.sent
            assert event.request_id == 3
            await rig.client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_half_an_answer_or_nonsense_is_no_answer_to_a_request_that_was_sent(raw: bytes) -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(request_id=4)
        event = await rig.event()
        assert isinstance(event, Unanswered)
        assert event.sent
        assert event.detail

    on_wire(answer_with(raw, then_close=True), test)


def test_silence_ends_in_unanswered_and_sent_at_the_given_time() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        began = clock.now().now_ns
        rig.call(within_ns=60 * MILLISECOND_NS)
        event = await rig.event()
        assert isinstance(event, Unanswered)
        assert event.sent
        assert event.detail.startswith("no answer within 0.0")
        assert clock.now().now_ns - began > 50 * MILLISECOND_NS

    on_wire(answer_never, test)


def test_an_answer_larger_than_the_bound_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "BODY_BYTES_MAX", 1)

    async def test(rig: Rig, server: WireServer) -> None:
        rig.call()
        event = await rig.event()
        assert isinstance(event, Unanswered)
        assert "larger than 1 bytes" in event.detail

    on_wire(answer_ok, test)


def test_an_order_goes_out_signed_with_its_body() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        now_ns = clock.now().now_ns
        rig.client.send_order(send_order(5, send_by_ns=now_ns + SECOND_NS, expires_s=wall_s() + 2))
        assert await rig.event() == Answered(5, 200, {"content-type": "application/json"}, b"[]")
        (request,) = server.requests
        assert request.startswith(b"POST /api/v1/order HTTP/1.1\r\n")
        assert request.endswith(b'\r\n\r\n{"a":1}')
        assert b"x-signed: POST /api/v1/order" in request

    on_wire(answer_ok, test)


def test_an_order_past_its_send_deadline_never_leaves() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.client.send_order(
            send_order(6, send_by_ns=clock.now().now_ns - 1, expires_s=wall_s() + 2)
        )
        event = await rig.event()
        assert event == Unanswered(6, False, "not sent: its deadline had passed")
        assert server.connections == 0

    on_wire(answer_ok, test)


def test_a_call_that_the_venue_must_refuse_as_expired_never_leaves() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(request_id=6, expires_in_s=-1)
        event = await rig.event()
        assert event == Unanswered(6, False, "not sent: its deadline had passed")
        assert server.connections == 0

    on_wire(answer_ok, test)


def test_an_order_whose_connection_comes_too_late_never_leaves() -> None:
    """A listener whose queue is full lets a connection hang, as a lost first packet does."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            rig = Rig(port)
            began = loop.time()
            rig.client.send_order(
                send_order(
                    7,
                    send_by_ns=clock.now().now_ns + 100 * MILLISECOND_NS,
                    expires_s=wall_s() + 5,
                    answer_within_ns=5 * SECOND_NS,
                )
            )
            event = await rig.event()
            assert event == Unanswered(7, False, "no connection in time")
            assert loop.time() - began < 2
            for filler in fillers:
                filler.close()
            await rig.client.close()

    asyncio.run(run())


def test_an_order_that_waits_for_a_connection_is_withdrawn_and_no_byte_of_it_leaves() -> None:
    async def run() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            rig = Rig(port)
            rig.client.send_order(patient_order(7))
            rig.call("DELETE", request_id=8, lane=Lane.CANCEL, body=b"{}", within_ns=20 * SECOND_NS)
            await asyncio.sleep(0.05)
            rig.client.drop_orders()
            assert await rig.event() == Unanswered(7, False, "not sent: withdrawn by a stop")
            # Now the connections are let through, and only the cancel makes use of one.
            first = b""
            loop = asyncio.get_running_loop()
            while not first:
                accepted, _ = await asyncio.wait_for(loop.sock_accept(listener), 10)
                with accepted, contextlib.suppress(TimeoutError, ConnectionError):
                    accepted.setblocking(False)
                    first = await asyncio.wait_for(loop.sock_recv(accepted, 10_000), 0.2)
            assert first.startswith(b"DELETE ")
            assert isinstance(await rig.event(), Unanswered | Answered)
            for filler in fillers:
                filler.close()
            await rig.client.close()
            assert rig.events.empty()
            assert rig.crashes == []

    asyncio.run(run())


def test_an_order_that_waits_for_its_turn_is_withdrawn_and_one_on_its_way_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest_module, "_UNDER_WAY_MAX", dict.fromkeys(Lane, 1))

    async def test(rig: Rig, server: WireServer) -> None:
        rig.client.send_order(patient_order(1))
        await server.arrived(1)
        rig.client.send_order(patient_order(2))
        # What waits behind it in its own lane goes on.
        rig.call(request_id=3, lane=Lane.OPEN)
        rig.client.drop_orders()
        assert await rig.event() == Unanswered(2, False, "not sent: withdrawn by a stop")
        answered = [await rig.event() for _ in range(2)]
        assert [(type(one), one.request_id) for one in answered] == [(Answered, 1), (Answered, 3)]  # type: ignore[union-attr]
        assert [request.split(b" ")[0] for request in server.requests] == [b"POST", b"GET"]

    async def answer_late(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await answer_ok(request, writer)

    on_wire(answer_late, test)


def test_an_order_is_withdrawn_in_the_same_turn_of_the_loop_in_which_it_was_sent() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        rig.client.send_order(patient_order(1))
        rig.client.drop_orders()
        assert await rig.event() == Unanswered(1, False, "not sent: withdrawn by a stop")
        rig.call(request_id=2)
        assert isinstance(await rig.event(), Answered)
        assert [request.split(b" ")[0] for request in server.requests] == [b"GET"]

    on_wire(answer_ok, test)


def test_an_order_whose_own_end_begins_the_stop_ends_once() -> None:
    """The event that ends it leads to a stop in the same step, and a stop withdraws orders."""

    async def test(rig: Rig, server: WireServer) -> None:
        def stop_at(event: Event) -> None:
            rig.events.put_nowait(event)
            rig.client.drop_orders()

        rig.client._deliver = stop_at
        rig.client.send_order(send_order(1, send_by_ns=0, expires_s=wall_s() + 5))
        assert await rig.event() == Unanswered(1, False, "not sent: its deadline had passed")
        rig.call(request_id=2)
        assert isinstance(await rig.event(), Answered)
        assert len(server.requests) == 1

    on_wire(answer_ok, test)


def patient_order(request_id: int) -> SendOrder:
    """An order that may leave and be answered for long."""
    return send_order(
        request_id,
        send_by_ns=clock.now().now_ns + 20 * SECOND_NS,
        expires_s=wall_s() + 30,
        answer_within_ns=20 * SECOND_NS,
    )


def test_hanging_reads_hold_up_neither_orders_nor_cancels() -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        for number in range(6):
            rig.call(path=f"/read{number}", within_ns=300 * MILLISECOND_NS)
        rig.client.send_order(
            send_order(
                50,
                send_by_ns=clock.now().now_ns + SECOND_NS,
                expires_s=wall_s() + 2,
                answer_within_ns=300 * MILLISECOND_NS,
            )
        )
        rig.call("DELETE", request_id=60, lane=Lane.CANCEL, within_ns=300 * MILLISECOND_NS)
        await asyncio.wait_for(server.arrived(6), 5)
        heads = [request.split(b" HTTP")[0] for request in server.requests]
        assert sorted(heads) == [
            b"DELETE /api/v1/order",
            *(b"GET /api/v1/read%d" % number for number in range(4)),
            b"POST /api/v1/order",
        ]
        for _ in range(8):
            assert isinstance(await rig.event(), Unanswered)

    on_wire(answer_never, test)


def test_waiting_cancels_go_before_waiting_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "_UNDER_WAY_MAX", dict.fromkeys(Lane, 1))

    async def test(rig: Rig, server: WireServer) -> None:
        rig.call(path="/first")
        rig.call(path="/read", lane=Lane.RECONCILE)
        rig.call("DELETE", "/cancel", lane=Lane.CANCEL)
        for _ in range(3):
            await rig.event()
        paths = [request.split(b" ")[1] for request in server.requests]
        assert paths == [b"/api/v1/first", b"/api/v1/cancel", b"/api/v1/read"]

    on_wire(answer_ok, test)


def test_more_waiting_requests_than_the_bound_are_answered_as_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest_module, "_WAITING_MAX", 1)
    monkeypatch.setattr(rest_module, "_UNDER_WAY_MAX", dict.fromkeys(Lane, 1))

    async def test(rig: Rig, server: WireServer) -> None:
        for number in range(3):
            rig.call(request_id=number)
        assert await rig.event() == Unanswered(2, False, "1 already wait")
        for _ in range(2):
            assert isinstance(await rig.event(), Answered)

    on_wire(answer_ok, test)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_call_that_could_create_or_amend_does_not_pass_without_approval(method: str) -> None:
    async def test(rig: Rig, server: WireServer) -> None:
        with pytest.raises(InvariantViolated, match="without the gate's approval"):
            rig.call(method, "/order", body=b"{}")
        assert server.connections == 0

    on_wire(answer_ok, test)


def test_with_allow_trade_off_even_an_approved_order_is_a_violation() -> None:
    async def run() -> None:
        async with WireServer(answer_with(OK)) as server:
            rig = Rig(server.port, allow_trade=False)
            with pytest.raises(InvariantViolated, match="allow_trade"):
                rig.client.send_order(send_order(send_by_ns=2**62, expires_s=wall_s() + 5))
            await rig.client.close()
            assert server.connections == 0

    asyncio.run(run())
