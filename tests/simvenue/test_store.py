import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from chappie.simvenue.changes import Row
from chappie.simvenue.contract import Contract
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.orders import OrderRequest
from chappie.simvenue.store import Store, StoreError
from tests.simvenue.stage import ALICE, BOB, DEPOSIT, SECOND, T0, Script, Stage


def _busy(store: Store) -> Stage:
    stage = Stage(store=store)
    stage.level("Buy", 59_990.0, 5_000)
    stage.level("Sell", 60_010.0, 5_000)
    stage.order("Buy", 300, cl_ord_id="filled")
    stage.order("Sell", 100)
    stage.order("Buy", 100, 59_000, cl_ord_id="resting")
    stage.order("Sell", 100, stop_px=Decimal(58_000), cl_ord_id="stop")
    stage.cancel(stage.order("Buy", 100, 58_900))
    stage.exchange.set_leverage(stage.tick(), BOB, "XBTUSD", 5)
    stage.exchange.cancel_all_after(stage.tick(), BOB, 60_000)
    stage.exchange.commit()
    return stage


def _reopened(stage: Stage, folder: Path, *, later_ns: int = SECOND) -> Exchange:
    exchange = Exchange(stage.now + later_ns, Script(), Store(folder), seed=7)
    for account in (ALICE, BOB):
        exchange.open_account(stage.now + later_ns, account, DEPOSIT)
    return exchange


def _timeless(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "timestamp"} for row in rows]


def test_a_restarted_venue_still_has_everything_that_was_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    before = stage.exchange
    store.close()
    after = _reopened(stage, tmp_path)
    for account in (ALICE, BOB):
        assert after.orders(account) == before.orders(account)
        assert after.executions(account) == before.executions(account)
        assert after.wallet(account) == before.wallet(account)
        assert after.wallet_history(account) == before.wallet_history(account)
        assert _timeless(after.positions(account)) == _timeless(before.positions(account))
    assert after.audit() == before.audit()
    assert after.pit.last_ticks == before.pit.last_ticks == 599_900
    after.close()


def test_open_orders_work_on_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    store.close()
    exchange = _reopened(stage, tmp_path)
    assert exchange.pit.book.size("Buy", 590_000) == 100
    market = exchange._market
    assert isinstance(market, Script)
    now = stage.now + 2 * SECOND
    market.do(now, lambda floor: floor.strike("Sell", 590_000, 100))
    exchange.advance(now)
    statuses = {row.get("clOrdID"): row["ordStatus"] for row in exchange.orders(ALICE)}
    assert statuses["resting"] == "Filled"
    market.index_cents = 5_790_000
    exchange.advance(now + 2 * SECOND)
    statuses = {row.get("clOrdID"): row["ordStatus"] for row in exchange.orders(ALICE)}
    assert statuses["stop"] == "Canceled"  # Triggered into a book without bids.
    exchange.close()


def test_a_dead_mans_timer_that_ran_out_meanwhile_fires_at_the_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    order = stage.order("Buy", 100, 59_000, account=BOB)
    stage.exchange.commit()
    store.close()
    exchange = _reopened(stage, tmp_path, later_ns=120 * SECOND)
    [row] = [row for row in exchange.orders(BOB) if row["orderID"] == order["orderID"]]
    assert row["ordStatus"] == "Canceled"
    exchange.close()


def test_what_was_not_committed_is_gone_and_what_was_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    wallet = stage.exchange.wallet(ALICE)
    stage.order("Buy", 100)
    store.close()
    exchange = _reopened(stage, tmp_path)
    assert exchange.wallet(ALICE) == wallet
    assert exchange.audit().total == 2 * DEPOSIT
    exchange.close()


def test_ids_do_not_repeat_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    used = _ids(stage.exchange)
    store.close()
    exchange = _reopened(stage, tmp_path)
    for number in range(30):
        request = OrderRequest(symbol="XBTUSD", order_qty=100, price=Decimal(50_000 - number))
        exchange.submit(stage.now + 2 * SECOND, ALICE, request)
    ids = _ids(exchange)
    assert used < ids
    # 30 orders and the New execution of each.
    assert len(ids - used) == 60
    exchange.close()


def _ids(exchange: Exchange) -> set[object]:
    found = [row["orderID"] for row in exchange.orders(ALICE)]
    found += [row["execID"] for row in exchange.executions(ALICE)]
    found += [row["transactID"] for row in exchange.wallet_history(ALICE)]
    assert len(set(found)) == len(found)
    return set(found)


def test_a_commit_without_a_change_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    written: list[object] = []
    monkeypatch.setattr(store, "save", written.append)
    stage.exchange.commit()
    assert written == []
    stage.order("Buy", 100, 59_000)
    stage.exchange.commit()
    stage.exchange.commit()
    assert len(written) == 1
    store.close()


def test_histories_are_bounded_on_disk_and_open_orders_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappie.simvenue.store.DEAD_ORDERS_MAX", 5)
    monkeypatch.setattr("chappie.simvenue.store.EXECUTIONS_MAX", 8)
    monkeypatch.setattr("chappie.simvenue.store._PRUNE_EVERY", 10)
    store = Store(tmp_path)
    stage = Stage(store=store)
    oldest = stage.order("Buy", 100, 58_000, cl_ord_id="oldest")
    for _ in range(40):
        stage.cancel(stage.order("Buy", 100, 59_000))
        stage.exchange.commit()
    counted = [
        store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("orders", "execution")
    ]
    # Cut while running, every ten written rows, and not only at the next start.
    assert counted[0] <= 5 + 1 + 10
    assert counted[1] <= 8 + 10
    store.close()
    exchange = _reopened(stage, tmp_path)
    orders = exchange.orders(ALICE)
    assert orders[0]["orderID"] == oldest["orderID"]
    assert len(orders) == 6
    assert len(exchange.executions(ALICE)) == 8
    exchange.close()


def test_a_second_venue_on_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    real = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect", lambda path, **more: real(path, **{**more, "timeout": 0.0})
    )
    with pytest.raises(StoreError, match="is another venue using this folder"):
        Store(tmp_path)
    assert stage.exchange.audit().position_qty == 0
    store.close()


def test_accounts_of_another_contract_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = _busy(store)
    store.close()
    with pytest.raises(StoreError, match=r"XBTUSD with a tick of 0\.5"):
        Exchange(stage.now, Script(), Store(tmp_path), contract=Contract(tick_cents=50))


def test_a_damaged_file_is_a_store_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "venue.sqlite").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match=r"venue\.sqlite"):
        Store(tmp_path)


_KILLED = """
import os, signal
from pathlib import Path
from chappie.simvenue.store import Store
from tests.simvenue.stage import Stage
stage = Stage(store=Store(Path(os.environ["FOLDER"])))
stage.order("Buy", 100, 59_000, cl_ord_id="answered")
stage.exchange.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
def test_a_killed_process_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED],
        env={
            **os.environ,
            "FOLDER": str(tmp_path),
            "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root))),
        },
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    exchange = Exchange(T0 + SECOND, Script(), Store(tmp_path))
    [row] = exchange.orders(ALICE)
    assert (row["clOrdID"], row["ordStatus"]) == ("answered", "New")
    assert exchange.pit.book.size("Buy", 590_000) == 100
    exchange.close()
