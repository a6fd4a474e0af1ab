"""Stepping a run again: what is the same is called identical, and no difference is missed."""

import pytest

from chappie.journal.records import Digest
from chappie.model.events import (
    Event,
    FrameReceived,
    PolicyDecided,
    StopAsked,
    StreamOpened,
    Ticked,
)
from chappie.replay.recording import Recorded
from chappie.replay.replay import Diverged, Replay, Step
from tests.replay.runs import EchoCore, at, frames, record

STOP = StopAsked("operator", "SIGTERM")
TICKS: list[Event] = [Ticked()] * 10


def recorded(events: list[Event], *, killed: bool = False) -> list[Recorded]:
    return record(events, EchoCore().step, killed=killed)  # type: ignore[return-value]  # no heads


def followed(records: list[Recorded], until: int | None = None) -> tuple[Replay, Diverged | None]:
    replay = Replay(EchoCore().step)
    return replay, replay.follow(records, until)


def test_a_run_replays_identically_to_its_last_digest() -> None:
    replay, difference = followed(recorded([*frames(2500), STOP]))
    assert difference is None
    assert (replay.steps, replay.commands, replay.agreed) == (2501, 2501, 2501)


def test_of_a_killed_run_the_steps_behind_the_last_digest_are_not_called_compared() -> None:
    replay, difference = followed(recorded(frames(2500), killed=True))
    assert difference is None
    assert (replay.steps, replay.agreed) == (2500, 2000)


def test_every_step_is_shown_with_what_it_commanded() -> None:
    seen: list[Step] = []
    Replay(EchoCore().step, seen.append).follow(recorded(frames(3)))
    assert [(step.number, step.at, len(step.commands)) for step in seen] == [
        (1, at(1), 1),
        (2, at(2), 1),
        (3, at(3), 1),
    ]


def test_until_ends_the_replay_after_so_many_steps_and_their_digest() -> None:
    records = recorded(frames(2500))
    assert (followed(records, 1000)[0].steps, followed(records, 1000)[0].agreed) == (1000, 1000)
    assert (followed(records, 1001)[0].steps, followed(records, 1001)[0].agreed) == (1001, 1000)


def test_until_beyond_the_end_is_the_whole_run() -> None:
    assert followed(recorded(frames(5)), 1000)[0].agreed == 5


def test_a_changed_event_is_found_between_two_digests() -> None:
    records = recorded(frames(3000))
    where = next(n for n, (_, e) in enumerate(records) if e == FrameReceived(1, b"1500"))
    records[where] = (records[where][0], FrameReceived(1, b"other"))
    difference = followed(records)[1]
    assert difference is not None
    assert (difference.after, difference.step) == (1000, 2000)
    assert difference.detail.startswith("digest ")
    assert difference.first is not None
    assert difference.first.number == 1001


def test_a_changed_digest_is_found() -> None:
    records = recorded(frames(10))
    moment, digest = records[-1]
    assert isinstance(digest, Digest)
    records[-1] = (moment, Digest(digest.steps, digest.crc ^ 1))
    difference = followed(records)[1]
    assert difference is not None
    assert (difference.after, difference.step, difference.at) == (0, 10, at(10))


def test_a_dropped_event_is_found_though_it_commanded_nothing() -> None:
    records = recorded([*frames(1200), StreamOpened(1), *frames(1200)])
    del records[1201]
    difference = followed(records)[1]
    assert difference is not None
    assert (difference.after, difference.step) == (1000, 2000)
    assert "counted 2000 steps here and this replay 1999" in difference.detail


def test_a_run_whose_core_broke_breaks_again_and_is_identical() -> None:
    records = recorded([*frames(5), FrameReceived(1, b"break")])
    replay, difference = followed(records)
    assert difference is None
    assert (replay.steps, replay.agreed) == (5, 5)
    assert replay.broke == "AssertionError: never so"


@pytest.mark.parametrize("later", [[], [FrameReceived(1, b"more")]])
def test_a_core_that_breaks_where_the_recorded_one_did_not_is_found(later: list[Event]) -> None:
    records = recorded([*frames(5), FrameReceived(1, b"fine"), *later])
    records[5] = (records[5][0], FrameReceived(1, b"break"))
    difference = followed(records)[1]
    assert difference is not None
    assert "the core broke at step 6 (AssertionError: never so)" in difference.detail


def test_a_core_that_no_longer_breaks_where_the_recorded_one_did_is_found() -> None:
    records = recorded([*frames(5), FrameReceived(1, b"break")])
    records[5] = (records[5][0], FrameReceived(1, b"fine"))
    difference = followed(records)[1]
    assert difference is not None
    assert difference.detail == "the recorded run broke at step 6, and this replay did not"


def test_a_replay_that_stops_while_the_run_went_on_is_found_at_that_step() -> None:
    records = recorded(frames(8))
    records[3] = (records[3][0], STOP)
    difference = followed(records)[1]
    assert difference is not None
    assert "stopped at step 4 (operator), and the recorded run went on" in difference.detail


def test_an_answer_of_the_policy_to_a_question_never_asked_is_found_at_its_step() -> None:
    asked: list[Event] = [*TICKS, PolicyDecided(1, 100)]
    assert followed(recorded(asked))[1] is None
    difference = followed(recorded([*TICKS, PolicyDecided(2, 100), *frames(3)]))[1]
    assert difference is not None
    assert "question 2 to the policy" in difference.detail
    assert (difference.after, difference.step) == (0, 11)


def test_a_run_cut_off_at_any_record_is_no_difference() -> None:
    records = recorded([*TICKS, PolicyDecided(1, 1), *frames(3), STOP])
    for length in range(len(records)):
        assert followed(records[:length])[1] is None
