"""A machine that slept, and a wall clock that jumped, are noticed before anything is believed."""

from chappie.model.events import FrameReceived
from chappie.model.units import SECOND_NS, At
from tests.core.parts import config
from tests.core.rig import Rig


def trusting() -> Rig:
    rig = Rig(config())
    rig.start()
    rig.wait(1, rig.quote)
    assert rig.faults == []
    return rig


def quote_that_waited(rig: Rig, at: At) -> None:
    """A frame that lay in the socket while nobody stepped."""
    frame = (
        b'{"table":"quote","action":"insert","data":[{"symbol":"XBTUSD","bidSize":100,'
        b'"bidPrice":60000,"askPrice":60000.1,"askSize":100}]}'
    )
    rig.core.step(at, FrameReceived(rig.core.streams.connection.conn, frame))


def test_a_frame_that_waited_while_the_machine_slept_is_no_sign_of_a_fresh_market() -> None:
    rig = trusting()
    at = At(rig.at.now_ns + 15 * SECOND_NS, rig.at.wall_ns + 15 * SECOND_NS)
    quote_that_waited(rig, at)
    active = [fault.fault.value for fault in rig.core.faults.all()]
    assert "market_stale" in active
    assert "stream_down" in active


def test_a_step_that_is_a_little_late_is_no_gap() -> None:
    rig = trusting()
    at = At(rig.at.now_ns + SECOND_NS, rig.at.wall_ns + SECOND_NS)
    quote_that_waited(rig, at)
    assert rig.core.faults.all() == []


def test_a_wall_clock_that_jumps_drops_every_image_and_reconciles() -> None:
    rig = trusting()
    at = At(rig.at.now_ns + SECOND_NS // 2, rig.at.wall_ns + 7_200 * SECOND_NS)
    quote_that_waited(rig, at)
    active = [fault.fault.value for fault in rig.core.faults.all()]
    assert "stream_down" in active
    assert "unreconciled" in active


def test_a_wall_clock_that_is_slewed_is_no_jump() -> None:
    rig = trusting()
    at = At(rig.at.now_ns + SECOND_NS // 2, rig.at.wall_ns + SECOND_NS)
    quote_that_waited(rig, at)
    assert rig.core.faults.all() == []
