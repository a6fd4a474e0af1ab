import msgspec

from chappie.guardian.shown import (
    Setting,
    Shown,
    TraderState,
    faults_in_words,
    merge,
    not_ready,
    why_stopped,
)
from chappie.live.state_dir import LastStop
from chappie.model.enums import Stream
from chappie.model.state import DeadManState, FaultState, ForeignOrder, Mode, ReconcileState
from tests.guardian.states import faulted, healthy, order

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")
TRADER = TraderState(pid=7, beat_age_s=0.1)


def shown(**changes: object) -> Shown:
    base = merge(SETTING, healthy(), 0.1, True, TRADER)
    return msgspec.structs.replace(base, **changes)


def test_ages_grow_while_no_beat_comes() -> None:
    later = merge(SETTING, faulted(), 4.0, True, TRADER)
    assert later.streams["quote"].age_s == 4.5
    assert later.faults[0].since_s == 7.0


def test_a_trader_that_is_down_has_no_synced_stream_and_its_mode_is_stopped() -> None:
    down = merge(SETTING, healthy(), 1.0, False, TraderState())
    assert down.mode is Mode.STOPPED
    assert not any(stream.synced for stream in down.streams.values())
    assert down.known is False


def test_a_verified_stop_keeps_the_account_known() -> None:
    stop = LastStop("operator", 0, "", "", [], 0, True)
    assert merge(SETTING, healthy(), 1.0, False, TraderState(last_stop=stop)).known is True


def test_what_a_verified_stop_says_is_newer_than_the_last_beat() -> None:
    stop = LastStop("operator", 0, "", "", [msgspec.to_builtins(order(3))], -100, True)
    down = merge(SETTING, faulted(), 1.0, False, TraderState(last_stop=stop))
    assert [row.cl_ord_id for row in down.orders] == ["cb-chappie-7-3"]
    assert (down.position.qty, down.position.avg_entry_px) == (-100, None)
    unverified = msgspec.structs.replace(stop, known=False)
    down = merge(SETTING, faulted(), 1.0, False, TraderState(last_stop=unverified))
    assert len(down.orders) == 9
    # Once a trader runs again, only what it beats counts.
    up = merge(SETTING, faulted(), 1.0, True, TraderState(last_stop=stop))
    assert len(up.orders) == 9


def test_before_the_first_beat_everything_is_unknown_and_nothing_is_zero() -> None:
    body = msgspec.json.decode(
        msgspec.json.encode(merge(SETTING, None, 0.0, True, TraderState(pid=7)))
    )
    assert body["mode"] == "starting"
    assert body["position"] == {"symbol": "XBTUSD", "qty": None, "avgEntryPx": None}
    assert body["position_state"] is None
    assert body["rate_limit"] == {"limit": None, "remaining": None, "locked": False}
    assert body["last_reconcile"] == {
        "at": None,
        "clean": None,
        "rounds_clean": None,
        "rounds_unclean": None,
    }
    assert body["lag"] == {"quote_s": None, "clock_offset_s": None}
    assert (body["fills"], body["ended_orders"]) == ([], {})
    assert body["dead_man"] == {"armed_until": None, "missed_since": None}
    assert body["known"] is False
    assert body["streams"]["quote"] == {"synced": False, "age_s": None}


def test_the_body_has_every_field_of_the_contract() -> None:
    body = msgspec.json.decode(msgspec.json.encode(shown()))
    assert set(body) >= {
        "mode",
        "allow_trade",
        "position_state",
        "streams",
        "rate_limit",
        "orders",
        "position",
        "known",
        "last_reconcile",
        "dead_man",
        "trader",
        "config_hash",
    }
    assert set(body["streams"]) >= {stream.value for stream in Stream} - {"instrument"}
    assert set(body["trader"]) >= {"pid", "restarts", "last_stop"}
    full = msgspec.json.decode(msgspec.json.encode(merge(SETTING, faulted(), 0.0, True, TRADER)))
    assert set(full["orders"][0]) == {
        "clOrdID",
        "orderID",
        "side",
        "ordStatus",
        "price",
        "orderQty",
        "cumQty",
        "leavesQty",
    }


def test_foreign_orders_and_a_missed_renewal_are_shown() -> None:
    state = msgspec.structs.replace(
        faulted(),
        foreign_orders=[ForeignOrder("venue-1", "")],
        dead_man=DeadManState(None, "2026-01-01T00:00:00.000Z"),
    )
    body = msgspec.json.decode(msgspec.json.encode(merge(SETTING, state, 0.0, True, TRADER)))
    assert body["foreign_orders"] == [{"orderID": "venue-1", "clOrdID": ""}]
    assert body["dead_man"]["missed_since"] == "2026-01-01T00:00:00.000Z"


def test_the_body_reads_back_as_what_it_was() -> None:
    before = merge(SETTING, faulted(), 1.0, True, TRADER)
    assert msgspec.json.decode(msgspec.json.encode(before), type=Shown) == before


def test_ready_only_when_synced_reconciled_and_not_faulted() -> None:
    assert not_ready(shown(), 5.0) == []
    for mode in (Mode.STOPPED, Mode.HALTED, Mode.FAULTED, Mode.STARTING):
        assert not_ready(shown(mode=mode), 5.0) == [f"mode is {mode.value}"]
    assert not_ready(shown(last_reconcile=ReconcileState(None, None)), 5.0)
    assert not_ready(shown(last_reconcile=ReconcileState("x", False)), 5.0)
    assert not_ready(shown(trader=TraderState(pid=7, beat_age_s=6.0)), 5.0)
    assert not_ready(shown(trader=TraderState(pid=7)), 5.0)
    unsynced = merge(SETTING, faulted(), 0.0, True, TRADER)
    assert "not synced: orderBook" in not_ready(unsynced, 5.0)


def with_faults(*named: tuple[str, str]) -> Shown:
    faults = [FaultState(fault, subject, 1.0, "", "") for fault, subject in named]
    return shown(mode=Mode.FAULTED, faults=faults)


def test_faults_are_named_once_each_with_what_they_are_about() -> None:
    unsynced = ("quote", "orderBook", "trade", "order", "margin")
    found = with_faults(
        ("stream_down", ""),
        *(("stream_unsynced", name) for name in unsynced),
        ("order_in_doubt", "chp-x-1"),
    )
    assert faults_in_words(found) == [
        "stream_down",
        "stream_unsynced quote, orderBook, trade and 2 more",
        "order_in_doubt chp-x-1",
    ]


def test_a_trader_that_is_down_has_a_reason_and_no_faults_of_now() -> None:
    stop = TraderState(last_stop=LastStop("feed_stale", 10, "", "", [], 0, True))
    up = msgspec.structs.replace(with_faults(("stream_down", "")), trader=stop)
    assert (faults_in_words(up), why_stopped(up)) == (["stream_down"], None)
    down = msgspec.structs.replace(up, mode=Mode.STOPPED)
    assert (faults_in_words(down), why_stopped(down)) == ([], "feed_stale")
