"""Each safety property, taken away on purpose, is missed: a sample of `bin/sabotage`."""

import pytest

from chappie.simulation.invariants import INVARIANTS
from tests.simulation import sabotages
from tests.simulation.sabotages import SABOTAGES, Sabotage, Unsound, catch

# The quickest nights, and every break that a test catches.
SAMPLE = (
    "no_answer_means_rejected",
    "retry_of_a_post",
    "intent_after_sending",
    "position_never_compared",
    "switch_trusted_unproven",
    "allow_trade_not_asked",
    "liquidation_unnoticed",
    "stops_without_cancelling",
    *(sabotage.name for sabotage in SABOTAGES if sabotage.scene is not None),
)
BY_NAME = {sabotage.name: sabotage for sabotage in SABOTAGES}

HARMLESS = Sabotage("harmless", "nothing is broken", lambda patch: None, ("calm",), ("kill",))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_break_is_caught_and_nothing_fails_without_it(name: str) -> None:
    sabotage = BY_NAME[name]
    caught = catch(sabotage)
    assert caught is not None, f"{sabotage.what}, and nobody noticed"
    assert sabotage.scene is not None or caught.by in sabotage.caught_by, caught


def test_every_row_names_what_catches_it() -> None:
    assert len(BY_NAME) == len(SABOTAGES)
    for sabotage in SABOTAGES:
        assert set(sabotage.caught_by) <= set(INVARIANTS)
        assert bool(sabotage.caught_by) != (sabotage.scene is not None), sabotage.name


def test_a_break_that_nobody_notices_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sabotages, "SABOTAGES", (HARMLESS,))
    monkeypatch.setattr(sabotages, "SEEDS", range(1, 2))
    assert sabotages.main([]) == 1
    assert "UNNOTICED  harmless: nothing is broken" in capsys.readouterr().out


def test_what_fails_without_the_break_catches_nothing() -> None:
    def wrong() -> None:
        raise AssertionError

    with pytest.raises(Unsound, match="fails without it"):
        catch(HARMLESS._replace(scene=wrong))


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert sabotages.main(["nonsense"]) == 64
    assert "no sabotage is named nonsense" in capsys.readouterr().err
