"""The venue's words against recorded ones: bodies of refusals, and the form of frames."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from chappie.simvenue import tables
from chappie.simvenue.options import Limits
from tests.simvenue.rig import ALICE, BOB, Reply, Rig

ORDER = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 59_000}


def _recorded(shared_data: Path, name: str) -> dict[str, Any]:
    path = shared_data / "recordings" / "fremantle-industries+ex_bitmex" / f"rest__{name}.json"
    answer: dict[str, Any] = json.loads(path.read_text())[0]["response"]
    return answer


def _bad_request(rig: Rig) -> Reply:
    return rig.ask("POST", "/order", {"side": "Buy"})


def _invalid_signature(rig: Rig) -> Reply:
    return rig.ask("POST", "/order", ORDER, sign="0" * 64)


def _not_found(rig: Rig) -> Reply:
    return rig.ask("DELETE", "/stats")


def _overloaded(rig: Rig) -> Reply:
    rig.arm("overload_503")
    return rig.ask("POST", "/order", ORDER)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("request__error_bad_request", _bad_request),
        ("request__error_invalid_signature", _invalid_signature),
        ("request__error_not_found", _not_found),
        ("request__error_overloaded", _overloaded),
    ],
)
def test_refusals_are_byte_for_byte_as_recorded(shared_data: Path, name: str, act: Any) -> None:
    recorded = _recorded(shared_data, name)
    reply = act(Rig())
    assert (reply.status, reply.body.decode()) == (recorded["status_code"], recorded["body"])
    assert reply.headers["content-type"] == recorded["headers"]["Content-Type"]
    recorded_names = {header.lower() for header in recorded["headers"]}
    limits = {header for header in recorded_names if header.startswith("x-ratelimit")}
    assert limits <= set(reply.headers)
    if not limits:
        assert not [header for header in reply.headers if header.startswith("x-ratelimit")]


def test_a_429_says_what_was_recorded(shared_data: Path) -> None:
    recorded = _recorded(shared_data, "request__error_rate_limited")
    rig = Rig(limits=Limits(per_second=1))
    rig.ask("DELETE", "/order/all")
    reply = rig.ask("DELETE", "/order/all")
    assert reply.status == recorded["status_code"]
    assert reply.message == json.loads(recorded["body"])["error"]["message"]
    assert reply.headers["retry-after"] == recorded["headers"]["Retry-After"]


def test_frames_have_the_form_of_the_capture(shared_data: Path) -> None:
    """Acks and images of 2021, less what images no longer carry (protocol section 6)."""
    path = shared_data / "recordings" / "bmoscon+cryptofeed" / "BITMEX.ws.1.0.xz"
    captured: dict[str, Any] = {}
    with lzma.open(path, "rt") as lines:
        for line in lines:
            _, _, text = line.partition(": ")
            if not text.startswith("{") or "<-" in line:
                continue
            frame = json.loads(text)
            if "info" in frame:
                continue
            kind = f"{frame.get('table', 'ack')} {frame.get('action', '')}".strip()
            if kind == "ack" or kind.endswith("partial"):
                captured.setdefault(kind, frame)
            if len(captured) >= 4:
                break
    rig = Rig()
    rig.order("Sell", 100, 60_000, user=BOB)
    rig.order("Buy", 100)
    socket = rig.subscribe(rig.connect(ALICE), "orderBookL2:XBTUSD", "quote:XBTUSD", "trade:XBTUSD")
    ack = socket.frames[1]
    assert list(ack) == list(captured["ack"])
    for table in ("quote", "trade", "orderBookL2"):
        old = {
            name: value
            for name, value in captured[f"{table} partial"].items()
            if name not in ("foreignKeys", "attributes")
        }
        (image,) = socket.of(table, "partial")
        assert list(image) == list(old)
        assert image["keys"] == old["keys"]
        assert image["filter"] == {"symbol": "XBTUSD"}
        for column, kind in old["types"].items():
            assert image["types"][column] == kind


def test_the_types_of_the_book_are_those_of_2025(shared_data: Path) -> None:
    folder = shared_data / "recordings" / "szabelin+bitmex-trading-market-data-handler"
    with lzma.open(folder / "sample_partial_message_xbtusd.json.xz", "rt") as file:
        captured = json.load(file)
    book = tables.BY_NAME["orderBookL2"]
    assert book.types == captured["types"]
    assert list(book.types) == list(captured["data"][0])
    assert list(book.keys) == captured["keys"]
