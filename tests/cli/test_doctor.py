"""`chappie doctor` against a real venue server: what it finds, what it says, what it leaves."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chappie.cli import doctor_here, machine
from chappie.cli.main import main
from chappie.guardian import last_stop
from chappie.guardian.instance import Lock, Run, write_run
from chappie.guardian.operator.api import bind
from chappie.journal.kept import KeptLog
from chappie.live.state_dir import LastStop, StateDir
from chappie.model.config import Config, VenueConfig
from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.records import Connected, Intent, Waits
from chappie.model.units import SECOND_NS, Contracts, Ticks
from tests.cli.test_status import guardian_in
from tests.system.rig import Seat, Venue, a_venue

pytestmark = pytest.mark.processes

SEATS = 50
# The seats are handed out from the first on.
WITHDRAWS, READS = SEATS - 1, SEATS


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    made = [Seat(None, number) for number in range(1, SEATS + 1)]  # type: ignore[arg-type]
    rights = {WITHDRAWS: ("order", "withdraw"), READS: ()}
    accounts = [
        {
            "account": s.account,
            "api_key": s.key,
            "secret": s.secret,
            "permissions": rights.get(s.account, ("order",)),
        }
        for s in made
    ]
    with a_venue(seats=SEATS, accounts=accounts) as made_venue:
        yield made_venue


class Doctor:
    """One account, one state folder, and what the doctor says of them."""

    def __init__(
        self,
        venue: Venue,
        seat: Seat,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.venue, self.seat, self.state = venue, seat, folder / "state"
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith("CHAPPIE_")]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("CHAPPIE_API_KEY", seat.key)
        monkeypatch.setenv("CHAPPIE_API_SECRET", seat.secret)
        self.code = -1

    def looks(self, *args: str, sets: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
        """The findings by what was looked at; of two of one name the worse stands later."""
        self._capsys.readouterr()
        urls = (f"venue.rest_url={self.venue.rest_url}", f"venue.ws_url={self.venue.ws_url}")
        flags = [part for text in (*urls, "operator.port=0", *sets) for part in ("--set", text)]
        self.code = main(["doctor", "--json", *flags, *args])
        body: dict[str, Any] = msgspec.json.decode(self._capsys.readouterr().out)
        assert body["ok"] == (self.code == 0)
        return {finding["check"]: finding for finding in body["findings"]}

    def kept(self) -> list[object]:
        return list(doctor_here._kept(self.state / "kept.log")[0])

    def connects(self) -> int:
        """What the venue counted."""
        return sum(row["path"].startswith("/realtime") for row in self.seat.requests())


@pytest.fixture
def doctor(
    venue: Venue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Doctor]:
    seat = venue.seat()
    yield Doctor(venue, seat, tmp_path, monkeypatch, capsys)
    venue.clear()


def of_account(venue: Venue, doctor: Doctor, number: int, patch: pytest.MonkeyPatch) -> None:
    seat = Seat(venue, number)
    doctor.seat = seat
    patch.setenv("CHAPPIE_API_KEY", seat.key)
    patch.setenv("CHAPPIE_API_SECRET", seat.secret)


# --- a healthy account


def test_a_healthy_account_has_no_fail_and_no_order_is_sent(doctor: Doctor) -> None:
    found = doctor.looks("--switch")
    assert doctor.code == 0, found
    for check in ("venue", "key", "orders", "position", "websocket", "switch", "clock"):
        assert found[check]["verdict"] == "ok", found[check]
    assert "off again" in found["switch"]["found"]
    assert "every order of the account" in found["capabilities"]["found"]
    assert doctor.seat.new_orders() == []
    assert doctor.seat.truth()["orders"] == []


def test_it_makes_no_state_folder_and_leaves_nothing(doctor: Doctor) -> None:
    doctor.looks()
    assert not doctor.state.exists()
    assert list(doctor.state.parent.iterdir()) == []


def test_without_the_flag_the_switch_is_left_alone(doctor: Doctor) -> None:
    assert doctor.looks()["switch"]["verdict"] == "skipped"
    assert doctor.seat.changes() == []


def test_it_says_everything_to_people_too(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = (f"venue.rest_url={doctor.venue.rest_url}", f"venue.ws_url={doctor.venue.ws_url}")
    flags = [part for text in urls for part in ("--set", text)]
    assert main(["doctor", *flags, "--set", "operator.port=0"]) == 0
    out = capsys.readouterr().out
    assert "ok       key" in out
    assert "→ name a channel" in out
    assert doctor.seat.secret not in out


# --- the key


def test_a_key_that_can_withdraw_is_refused_and_arms_no_switch(
    venue: Venue, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_account(venue, doctor, WITHDRAWS, monkeypatch)
    found = doctor.looks("--switch")
    assert doctor.code == 1
    assert found["key"]["verdict"] == "FAIL"
    assert "withdraw" in found["key"]["found"]
    assert found["switch"]["verdict"] == "FAIL"
    assert doctor.seat.changes() == []


def test_a_key_that_only_reads_is_enough_to_observe_and_too_little_to_trade(
    venue: Venue, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_account(venue, doctor, READS, monkeypatch)
    assert doctor.looks()["key"]["verdict"] == "warning"
    assert doctor.looks(sets=("bot.allow_trade=true",))["key"]["verdict"] == "FAIL"


def test_a_wrong_secret_is_a_fail_that_says_what_to_check(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAPPIE_API_SECRET", "x" * 48)
    found = doctor.looks()
    assert doctor.code == 1
    assert any("CHAPPIE_API_KEY" in finding["advice"] for finding in found.values())
    assert found["the rest"]["verdict"] == "skipped"


def test_missing_credentials_are_a_fail_and_nobody_is_asked(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAPPIE_API_KEY")
    monkeypatch.delenv("CHAPPIE_API_SECRET")
    found = doctor.looks()
    assert (doctor.code, found["credentials"]["verdict"]) == (1, "FAIL")
    assert found["venue"]["verdict"] == "skipped"
    assert doctor.seat.requests() == []


# --- the venue


def test_a_venue_that_is_not_there_is_a_fail(doctor: Doctor) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
    nowhere = (
        f"venue.rest_url=http://127.0.0.1:{port}/api/v1",
        f"venue.ws_url=ws://127.0.0.1:{port}/realtime",
    )
    found = doctor.looks(sets=nowhere)
    assert (doctor.code, found["venue"]["verdict"]) == (1, "FAIL")
    assert "venue.rest_url" in found["venue"]["advice"]


def test_a_clock_that_is_off_is_a_fail(doctor: Doctor) -> None:
    doctor.venue.arm("skew_clock", ms=-5_000)
    assert doctor.looks()["clock"]["verdict"] == "FAIL"
    assert doctor.code == 1


def test_a_venue_whose_clock_is_ahead_refuses_us_and_the_clock_is_named(doctor: Doctor) -> None:
    doctor.venue.arm("skew_clock", ms=60_000)
    found = doctor.looks()
    assert doctor.code == 1
    assert "clock" in found["clock"]["advice"]


def test_a_ban_is_named_and_nothing_more_is_asked(doctor: Doctor) -> None:
    doctor.venue.arm("ban_403")
    before = len(doctor.venue.control("requests"))
    found = doctor.looks()
    # Who is banned is not asked for its key, so no account is named there.
    assert (doctor.code, len(doctor.venue.control("requests")) - before) == (1, 1)
    assert "banned" in found["venue"]["advice"]


def test_a_ban_that_an_earlier_run_was_told_is_waited_out(doctor: Doctor) -> None:
    doctor.state.mkdir()
    with contextlib.closing(KeptLog(doctor.state / "kept.log")) as kept:
        now_ns = time.time_ns()
        kept.append(Waits(now_ns, now_ns + 600 * SECOND_NS, banned=True))
    found = doctor.looks("--switch")
    assert (doctor.code, found["venue"]["verdict"]) == (1, "FAIL")
    assert doctor.seat.requests() == []


def test_a_low_budget_is_a_warning_and_a_lock_that_never_opens_a_fail(doctor: Doctor) -> None:
    assert doctor.looks()["request budget"]["verdict"] == "ok"
    low = doctor.looks(sets=("rate_limit.lock_below=1200", "rate_limit.unlock_above=1200"))
    assert low["request budget"]["verdict"] == "FAIL"
    doctor.seat.arm("drain_budget")
    assert doctor.looks()["request budget"]["verdict"] in ("warning", "skipped")


# --- the websocket


def test_the_one_connect_is_counted_where_the_next_run_counts(doctor: Doctor) -> None:
    with contextlib.closing(StateDir(doctor.state)):
        pass
    found = doctor.looks()
    assert "connect 1 of 40" in found["websocket"]["found"]
    assert [type(record) for record in doctor.kept()] == [Connected]
    assert "connect 2 of 40" in doctor.looks()["websocket"]["found"]


def test_where_the_hour_is_used_up_it_does_not_connect(doctor: Doctor) -> None:
    doctor.state.mkdir()
    with contextlib.closing(KeptLog(doctor.state / "kept.log")) as kept:
        for _ in range(3):
            kept.append(Connected(time.time_ns()))
    found = doctor.looks(sets=("feed.max_connects_per_hour=3",))
    assert found["websocket"]["verdict"] == "warning"
    assert len(doctor.kept()) == 3


def test_a_refused_upgrade_is_a_fail_and_counted(doctor: Doctor) -> None:
    doctor.state.mkdir()
    doctor.venue.arm("refuse_upgrade", status=503)
    assert doctor.looks()["websocket"]["verdict"] == "FAIL"
    assert len(doctor.kept()) == 1


def test_a_venue_that_says_no_word_is_a_fail(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.venue.arm("hang_up")
    assert doctor.looks()["venue"]["verdict"] == "FAIL"


# --- orders and the switch


def test_the_switch_is_refused_while_an_order_of_anybody_rests(doctor: Doctor) -> None:
    doctor.seat.place(side="Sell", orderQty=100, price=500_000.0, ordType="Limit")
    found = doctor.looks("--switch")
    assert found["orders"]["verdict"] == "warning"
    assert "1 of others" in found["orders"]["found"]
    assert (doctor.code, found["switch"]["verdict"]) == (1, "FAIL")
    assert [row["path"] for row in doctor.seat.changes()] == ["/api/v1/order"]
    assert len(doctor.seat.open_orders()) == 1


def test_orders_left_over_are_told_and_left_alone(doctor: Doctor) -> None:
    name = "chp-chappie-0-1"
    doctor.seat.place(side="Sell", orderQty=100, price=500_000.0, ordType="Limit", clOrdID=name)
    found = doctor.looks()
    assert "1 left over of ours" in found["orders"]["found"]
    assert len(doctor.seat.open_orders()) == 1


def test_a_switch_that_cannot_be_taken_off_is_a_fail(doctor: Doctor) -> None:
    # The first is the arming; the answers of all that follow are lost.
    doctor.seat.arm("error_500", route="/order/cancelAllAfter", skip=1)
    found = doctor.looks("--switch")
    assert (doctor.code, found["switch"]["verdict"]) == (1, "FAIL")
    assert "not proven to be off" in found["switch"]["found"]


def test_a_switch_that_is_refused_is_not_taken_off(
    venue: Venue, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_account(venue, doctor, READS, monkeypatch)
    found = doctor.looks("--switch")
    assert (doctor.code, found["switch"]["verdict"]) == (1, "FAIL")
    asked = [row for row in doctor.seat.requests() if row["path"].endswith("/cancelAllAfter")]
    assert len(asked) == 1


def test_an_arming_whose_answer_is_lost_is_taken_off_once_it_must_have_arrived(
    doctor: Doctor,
) -> None:
    doctor.seat.arm("accept_then_timeout", route="/order/cancelAllAfter", count=1)
    short = ("orders.ack_timeout_s=0.3", "orders.expires_after_s=0.5")
    found = doctor.looks("--switch", sets=short)
    assert (doctor.code, found["switch"]["verdict"]) == (1, "FAIL")
    assert "not proven" not in found["switch"]["found"]
    asked = [row for row in doctor.seat.requests() if row["path"].endswith("/cancelAllAfter")]
    assert len(asked) == 2


# --- what lies on this machine


def test_what_lies_in_the_state_folder_is_told(doctor: Doctor) -> None:
    doctor.state.mkdir()
    (doctor.state / "HALT").write_text("too hot")
    stop = LastStop("invariant_violated", 16, "two orders", "2026-01-01T00:00:00Z", [], 0, False)
    last_stop.write(doctor.state, stop)
    asked = NewOrder(
        cl_ord_id="chp-chappie-0-1",
        symbol="XBTUSD",
        side=Side.BUY,
        qty=Contracts(100),
        price=Ticks(2),
        ord_type=OrdType.LIMIT,
        time_in_force=TimeInForce.GTC,
        post_only=True,
        reduce_only=False,
    )
    with contextlib.closing(KeptLog(doctor.state / "kept.log")) as kept:
        kept.append(Intent(time.time_ns(), asked, 1))
    found = doctor.looks()
    assert doctor.code == 0
    assert (found["halt"]["verdict"], found["last stop"]["verdict"]) == ("warning", "warning")
    assert "chappie resume" in found["halt"]["advice"]
    assert "not verified" in found["last stop"]["found"]
    assert found["intents"]["verdict"] == "warning"
    assert "chp-chappie-0-1" in found["intents"]["found"]


def test_a_folder_of_another_bot_is_a_fail(doctor: Doctor) -> None:
    far = VenueConfig(kind="bitmex", rest_url="https://far/api/v1", ws_url="wss://far/realtime")
    with contextlib.closing(StateDir(doctor.state)) as state:
        state.bind(Config(venue=far), "another-key")
    found = doctor.looks()
    assert (doctor.code, found["state folder"]["verdict"]) == (1, "FAIL")


def test_a_folder_that_cannot_be_written_is_a_fail(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "why_not_writable", lambda folder: "Read-only file system")
    assert doctor.looks()["state folder"]["verdict"] == "FAIL"


def test_a_file_where_the_folder_should_be_is_a_fail(doctor: Doctor) -> None:
    doctor.state.write_text("no folder")
    assert doctor.looks()["state folder"]["verdict"] == "FAIL"


def test_a_damaged_kept_log_is_a_fail_and_left_as_it_is(doctor: Doctor) -> None:
    doctor.state.mkdir()
    path = doctor.state / "kept.log"
    with contextlib.closing(KeptLog(path)) as kept:
        kept.append(Connected(time.time_ns()))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    found = doctor.looks()
    assert found["intents"]["verdict"] == "warning"
    assert "not counted" in found["websocket"]["found"]
    assert path.read_bytes() == whole[:-3]
    path.write_bytes(b"\xff" * 8 + whole + whole)
    assert doctor.looks()["intents"]["verdict"] == "FAIL"


@pytest.mark.parametrize(
    ("free", "verdict"), [(10_000_000, "FAIL"), (1_000_000_000, "warning"), (9e9, "ok")]
)
def test_the_disk_is_measured_against_what_the_journal_may_take(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, free: float, verdict: str
) -> None:
    usage = type("Usage", (), {"free": int(free)})
    monkeypatch.setattr(doctor_here.shutil, "disk_usage", lambda path: usage)
    assert doctor.looks()["disk"]["verdict"] == verdict


@pytest.mark.parametrize(("said", "verdict"), [(True, "ok"), (False, "warning"), (None, "skipped")])
def test_the_machines_clock(
    monkeypatch: pytest.MonkeyPatch, said: bool | None, verdict: str
) -> None:
    monkeypatch.setattr(machine, "clock_is_synchronised", lambda: said)
    assert doctor_here.machine_clock().verdict.value == verdict


def test_the_kernel_is_asked_without_changing_anything() -> None:
    assert machine.clock_is_synchronised() in (True, False, None)


def test_a_taken_port_is_a_fail(doctor: Doctor) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        found = doctor.looks(sets=(f"operator.port={port}",))
    assert found["operator port"]["verdict"] == "FAIL"


def test_a_channel_that_nobody_knows_is_a_fail(doctor: Doctor) -> None:
    found = doctor.looks(sets=('alerts.urls=["nonsense://secret-word/"]',))
    assert found["alerts"]["verdict"] == "FAIL"
    assert "secret-word" not in found["alerts"]["found"]
    assert found["configuration"]["verdict"] == "warning"


def test_a_policy_that_cannot_be_loaded_is_a_fail(doctor: Doctor) -> None:
    assert doctor.looks(sets=("bot.policy=no_such_module:Policy",))["policy"]["verdict"] == "FAIL"


def test_a_wrong_configuration_is_64(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--set", "nonsense=1"]) == 64
    assert "nonsense" in capsys.readouterr().err
    assert main(["doctor", "--set", "nonsense=1", "--json"]) == 64
    assert msgspec.json.decode(capsys.readouterr().out)["ok"] is False


# --- beside a running instance


def test_beside_a_running_instance_the_venue_is_not_asked(doctor: Doctor) -> None:
    doctor.state.mkdir()
    lock = Lock(doctor.state)
    lock.take()
    with contextlib.closing(lock), guardian_in(doctor.state):
        found = doctor.looks()
        assert doctor.code == 0
        assert found["venue"]["verdict"] == "skipped"
        assert "left alone" in found["venue"]["found"]
        assert found["operator port"]["found"].startswith("served by the running guardian")
        assert found["instance"]["verdict"] == "ok"
        assert found["request budget"]["verdict"] == "ok"
        assert doctor.looks("--switch")["switch"]["verdict"] == "FAIL"
    assert doctor.seat.requests() == []
    assert not (doctor.state / "kept.log").exists()


def test_beside_a_guardian_that_does_not_answer_it_says_so(doctor: Doctor) -> None:
    with bind("127.0.0.1", 0) as silent:
        port = silent.getsockname()[1]
    doctor.state.mkdir()
    lock = Lock(doctor.state)
    lock.take()
    write_run(doctor.state, Run(pid=os.getpid(), operator=f"http://127.0.0.1:{port}"))
    with contextlib.closing(lock):
        assert doctor.looks()["instance"]["verdict"] == "FAIL"
    assert doctor.code == 1


def test_beside_a_trader_alone_its_log_is_named(doctor: Doctor) -> None:
    with contextlib.closing(StateDir(doctor.state)):
        found = doctor.looks()
    assert "trader.log" in found["instance"]["advice"]
    assert doctor.seat.requests() == []
