"""CPU per market message, from the socket to an up-to-date book and through the whole core.

Three receivers of the same generated stream, each in a process of its own, fed by one sender:

- ``bare``: picows, msgspec and a dict, the least that a Python receiver can do;
- ``book``: our websocket client and dialect: checked mirrors and a sorted book;
- ``core``: the trader as it runs: journal on, whole core, policy asked, checks every 0.25 s.

    python bench/feed.py [--messages 200000] [--paced 20000] [--profile]

Figures are microseconds of CPU (user and system) of the receiving process per message, medians
of interleaved runs, and their ratio to ``bare`` in the same round.
"""

import argparse
import asyncio
import base64
import contextlib
import cProfile
import hashlib
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import market_stream

PACE_HZ = 1_000
_CHUNK_FRAMES = 200
END = b'{"table":"end"}'
# The pair that the venue's documentation signs its examples with: as random as real ones.
KEY = "LAqUlngMIQkIUjXMUreyu3qn"
SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


# --- the sender


def ws_frame(payload: bytes) -> bytes:
    """An unmasked text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


async def _heard(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """Opcode and payload of each frame of the client, until it is gone."""
    while True:
        try:
            opcode, size = await reader.readexactly(2)
            size &= 0x7F
            if size > 125:
                extended = await reader.readexactly(2 if size == 126 else 8)
                size = int.from_bytes(extended, "big")
            mask = await reader.readexactly(4)
            masked = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        yield opcode & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))


async def serve(
    images: list[bytes],
    stream: list[bytes],
    *,
    paced: bool,
    rest: Mapping[str, bytes] | None = None,
    wait_for_subscription: bool = False,
) -> None:
    """Serve one websocket: images, a pause, then the stream, flooded or at a fixed pace.

    A request that is no websocket is answered with the body that ``rest`` has for its path.
    Some clients lose what comes before they have subscribed: the images can wait for that.
    """
    frames = [ws_frame(payload) for payload in stream]
    done = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            (
                line.partition(b":")[2].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            ),
            None,
        )
        if key is None:
            path = head.split(b" ")[1].decode().partition("?")[0]
            body = (rest or {}).get(path, b"[]")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
            writer.close()
            return
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        subscribed = asyncio.Event()

        async def listen() -> None:
            async for opcode, payload in _heard(reader):
                if opcode == 0x9:
                    writer.write(bytes((0x8A, len(payload))) + payload)
                elif opcode == 0x1 and b"orderBookL2" in payload:
                    subscribed.set()
            done.set()

        async def send() -> None:
            if paced:
                begin = time.monotonic()
                for number, frame in enumerate(frames):
                    ahead_s = begin + number / PACE_HZ - time.monotonic()
                    if ahead_s > 0:
                        await asyncio.sleep(ahead_s)
                    writer.write(frame)
            else:
                for start in range(0, len(frames), _CHUNK_FRAMES):
                    writer.write(b"".join(frames[start : start + _CHUNK_FRAMES]))
                    await writer.drain()
            writer.write(ws_frame(END))
            await writer.drain()

        listener = asyncio.create_task(listen())
        if wait_for_subscription:
            await subscribed.wait()
            await asyncio.sleep(0.5)
        for image in images:
            writer.write(ws_frame(image))
        await writer.drain()
        await asyncio.sleep(1.5)
        with contextlib.suppress(ConnectionError):
            await send()
        await listener

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.wait_for(done.wait(), 600)


# --- the receivers


class Meter:
    """CPU of this process, all its threads, between the first increment and the end frame."""

    def __init__(self, profile: bool = False) -> None:
        self.images = len(market_stream.images())
        self.seen = 0
        self.cpu_s = 0.0
        self.profile = cProfile.Profile() if profile else None
        self.done = asyncio.Event()

    def count(self, last: bool) -> bool:
        """Count one frame; True for the last."""
        self.seen += 1
        if self.seen == self.images + 1:
            self.cpu_s = time.process_time()
            if self.profile is not None:
                self.profile.enable()
        if last:
            self.stop()
        return last

    def stop(self) -> None:
        self.cpu_s = time.process_time() - self.cpu_s
        if self.profile is not None:
            self.profile.disable()
        self.done.set()

    def us_per_message(self) -> float:
        return 1e6 * self.cpu_s / (self.seen - self.images - 1)


async def _bare(url: str, meter: Meter) -> None:
    import msgspec
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    decoder = msgspec.json.Decoder()
    levels: dict[int, tuple[float, int]] = {}

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is not WSMsgType.TEXT:
                return
            payload = frame.get_payload_as_bytes()
            if meter.count(payload == END):
                return
            message = decoder.decode(payload)
            if message.get("table") == "orderBookL2":
                if message["action"] == "delete":
                    for row in message["data"]:
                        del levels[row["id"]]
                else:
                    for row in message["data"]:
                        levels[row["id"]] = (row["price"], row["size"])

    transport, _ = await ws_connect(Listener, url, max_frame_size=1 << 25)
    await meter.done.wait()
    transport.disconnect()


async def _book(url: str, meter: Meter) -> None:
    from chappie.live import clock
    from chappie.live.redact import Redactor
    from chappie.live.stream import Streams
    from chappie.model.events import Event, FrameReceived
    from chappie.venues.bitmex import BitmexDialect, BitmexSigner
    from chappie.venues.bitmex.columns import instrument_seen

    dialect = BitmexDialect(market_stream.SYMBOL)
    session = dialect.session(instrument_seen(market_stream.INSTRUMENT).instrument)

    def deliver(event: Event) -> None:
        if isinstance(event, FrameReceived) and not meter.count(event.payload == END):
            session.receive(event.payload)

    signer = BitmexSigner(KEY, SECRET)
    streams = Streams(url, signer, Redactor(KEY, SECRET), deliver, _crash, clock.now)
    streams.open(1, 10**10)
    await meter.done.wait()
    assert len(session.book) > 1000
    streams.drop_all()


async def _core(url: str, meter: Meter) -> None:
    from chappie.core.core import Core
    from chappie.journal.journal import Journal
    from chappie.journal.kept import KeptLog
    from chappie.live import clock
    from chappie.live.log import Log
    from chappie.live.policies import load
    from chappie.live.redact import Redactor
    from chappie.live.stream import Streams
    from chappie.live.trader import Trader
    from chappie.live.watchdog import Watchdog
    from chappie.model.commands import SendCall, SendOrder
    from chappie.model.config import Config
    from chappie.model.events import Answered, Event, FrameReceived, Started
    from chappie.venues.bitmex import BitmexDialect, BitmexSigner

    loop = asyncio.get_running_loop()
    config = Config()

    class Rest:
        """Answers every read at once with an empty account."""

        def send(self, command: SendCall) -> None:
            bodies = {
                "/instrument": [market_stream.INSTRUMENT],
                "/apiKey": [{"id": "***", "permissions": ["order"]}],
                "/user/margin": {"currency": "XBt", "walletBalance": 10**8},
            }
            body = bodies.get(command.call.path.partition("?")[0], [])
            answer = Answered(command.request_id, 200, {}, json.dumps(body).encode())
            loop.call_soon(trader.deliver, answer)

        def send_order(self, command: SendOrder) -> None:
            raise AssertionError("observe-only")

        def drop_orders(self) -> None:
            """There are none."""

    with tempfile.TemporaryDirectory() as folder:
        core = Core(config, BitmexDialect(market_stream.SYMBOL))
        trader = Trader(
            core=core,
            journal=Journal(
                Path(folder) / "journal",
                epoch=1,
                version="0",
                config=b"{}",
                policy_period_s=1.0,
                max_bytes=10**9,
            ),
            kept=KeptLog(Path(folder) / "kept.log"),
            policy=load(config, str),
            log=Log(Redactor(KEY, SECRET)),
            watchdog=Watchdog(60.0, lambda reason, detail: None),
            clock=clock.now,
            loop=loop,
            epoch=1,
            last_words=lambda ended, state: None,
            set_latch=lambda words: None,
        )

        def deliver(event: Event) -> None:
            if isinstance(event, FrameReceived) and meter.count(event.payload == END):
                return
            trader.deliver(event)

        signer = BitmexSigner(KEY, SECRET)
        streams = Streams(url, signer, Redactor(KEY, SECRET), deliver, _crash, clock.now)
        trader.connect(streams, Rest(), None)
        trader.deliver(Started(1))
        await meter.done.wait()
        assert core.trading.asked > 0, core.faults.all()
        assert core.streams.feed.all_synced
        streams.drop_all()


def _crash(error: BaseException) -> None:
    raise error


def run(receiving: Coroutine[None, None, None]) -> None:
    """Run a receiver of ours on the trader's own event loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(receiving)


RECEIVERS = {"bare": _bare, "book": _book, "core": _core}


async def _receive(name: str, port: int, profile: bool) -> None:
    import gc

    meter = Meter(profile)
    gc.freeze()
    await asyncio.wait_for(RECEIVERS[name](f"ws://127.0.0.1:{port}/realtime", meter), 600)
    print(meter.us_per_message())
    if meter.profile is not None:
        # Not before the end: a reader that closes the pipe would then leave us waiting for it.
        pstats.Stats(meter.profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)


def _run(name: str, count: int, paced: bool, profile: bool) -> float:
    me = [sys.executable, __file__]
    pace = ["--paced-sender"] if paced else []
    sender = subprocess.Popen([*me, "--send", str(count), *pace], stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    try:
        port = sender.stdout.readline().strip()
        extra = ["--profile"] if profile else []
        out = subprocess.run(
            [*me, "--receive", name, "--port", port, *extra],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(out.stdout.split()[-1])
    finally:
        sender.terminate()
        sender.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--paced", type=int, default=20_000, help="messages of the paced runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the time goes, to stderr")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--paced-sender", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--receive", choices=RECEIVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send is not None:
        stream = list(market_stream.frames(args.send))
        asyncio.run(serve(market_stream.images(), stream, paced=args.paced_sender))
    elif args.receive is not None:
        run(_receive(args.receive, args.port, args.profile))
    elif args.profile:
        _run("core", args.messages, paced=False, profile=True)
    else:
        for label, count, paced in (
            ("flood", args.messages, False),
            (f"paced at {PACE_HZ}/s", args.paced, True),
        ):
            if count == 0:
                continue
            rounds = [
                {name: _run(name, count, paced, False) for name in RECEIVERS}
                for _ in range(args.rounds)
            ]
            for name in RECEIVERS:
                cost = statistics.median(r[name] for r in rounds)
                ratio = statistics.median(r[name] / r["bare"] for r in rounds)
                print(f"{label:16} {name:5} {cost:8.2f} us/message   {ratio:5.2f} x bare")


if __name__ == "__main__":
    main()
