"""A trader that trades nothing: it beats, ends, hangs and dies as its arguments say.

Arguments: how many beats before ``then`` happens, ``then``, and whatever ``then`` needs.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from chappie.model.link import Beat, Ending, HaltSeen
from tests.guardian.states import healthy

BEAT_EVERY_S = 0.05


def main() -> int:
    beats, then, rest = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    note(f"started {os.getpid()}")
    os.write(1, b'{"event": "fake_trader_started", "level": "info"}\n')
    link = socket.socket(fileno=int(os.environ["CHAPPIE_GUARDIAN_FD"]))
    link.setblocking(False)
    number = 0
    if then == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while number < beats or then in ("forever", "deaf"):
        # With the guardian gone a send fails; what `told` reads then says so.
        with contextlib.suppress(OSError):
            link.send(msgspec.json.encode(Beat(epoch=7, state=healthy(number))) + b"\n")
        number += 1
        if then != "deaf" and (code := told(link)) is not None:
            return code
        time.sleep(BEAT_EVERY_S)
    match then:
        case "exit":
            word, code = rest[0], int(rest[1])
            link.send(msgspec.json.encode(Ending(word, code, f"fake {word}")) + b"\n")
            if len(rest) > 2:
                write_stop(word, code, rest[2])
            return code
        case "signal":
            os.kill(os.getpid(), int(rest[0]))
        case "hang":
            time.sleep(600)
    return 70


def told(link: socket.socket) -> int | None:
    """The exit code once the guardian says so, or 23 once it is gone."""
    try:
        data = link.recv(65_536)
    except BlockingIOError:
        return None
    except OSError:
        data = b""
    if not data:
        note("guardian_lost")
        return 23
    note(f"told {data.decode().strip()}")
    words = [json.loads(line) for line in data.splitlines()]
    if words[0]["type"] != "halt":
        return 0
    how = os.environ.get("FAKE_HALT", "obey")
    if how == "mute":
        return None
    link.send(msgspec.json.encode(HaltSeen(words[0]["detail"])) + b"\n")
    if how == "endless":
        return None
    if path := os.environ.get("FAKE_STOP"):
        write_stop("halted", 20, path)
    link.send(msgspec.json.encode(Ending("halted", 20, words[0]["detail"])) + b"\n")
    return 20


def write_stop(word: str, code: int, path: str) -> None:
    stop = {
        "reason": word,
        "code": code,
        "detail": "written by the trader",
        "at": "2026-01-01T00:00:00Z",
        "orders": [],
        "position": 5,
        "known": True,
    }
    Path(path).write_text(json.dumps(stop))


def note(line: str) -> None:
    """Into the file that the test named, if it did."""
    if path := os.environ.get("FAKE_NOTES"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
