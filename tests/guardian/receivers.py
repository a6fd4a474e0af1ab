"""Local receivers of alerts: one that takes them, one that refuses, one that never answers."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE_S = 20.0


class Receiver:
    """Takes what is posted to it and answers with ``status``."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.got: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        receiver = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(receiver.status)
                self.end_headers()
                receiver.take(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = int(self.server.server_address[1])
        self.url = f"json://127.0.0.1:{self.port}/"

    def take(self, body: dict[str, Any]) -> None:
        with self._changed:
            self.got.append(body)
            self._changed.notify_all()

    def titles(self) -> list[str]:
        return [str(body["title"]) for body in self.got]

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first alert that is so; waits for it."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [body for body in self.got if holds(body)]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(is_there, PATIENCE_S), self.titles()
        return found[0]

    def until_title(self, part: str) -> dict[str, Any]:
        return self.until(lambda body: part in body["title"])


@contextlib.contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver(status)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


@contextlib.contextmanager
def never_answering() -> Iterator[str]:
    """The URL of somebody who accepts every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"json://127.0.0.1:{server.getsockname()[1]}/"


def nobody() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"json://127.0.0.1:{port}/"
