import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.model.timestamps import iso_ns, ns_iso

# 1970 to 2200.
WALL_NS = st.integers(0, 7_258_118_400 * 10**9)


@given(wall_ns=WALL_NS)
def test_a_time_survives_text_and_back_to_the_millisecond(wall_ns: int) -> None:
    assert iso_ns(ns_iso(wall_ns)) == wall_ns // 1_000_000 * 1_000_000


@given(wall_ns=WALL_NS, step=st.integers(1_000_000, 10**18))
def test_later_times_are_later_texts(wall_ns: int, step: int) -> None:
    assert ns_iso(wall_ns) < ns_iso(wall_ns + step)


@pytest.mark.parametrize(
    ("text", "wall_ns"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2021-07-22T22:36:07.865Z", 1_626_993_367_865_000_000),
        ("2021-07-22T22:36:07Z", 1_626_993_367_000_000_000),
        ("2021-07-22T22:36:07.865123Z", 1_626_993_367_865_123_000),
        ("2021-07-23T00:36:07.865+02:00", 1_626_993_367_865_000_000),
    ],
)
def test_the_venues_spellings_of_a_time_are_read(text: str, wall_ns: int) -> None:
    assert iso_ns(text) == wall_ns


@pytest.mark.parametrize(
    "text",
    ["", "noon", "2021-07-22", "2021-07-22T22:36:07.865", "2021-13-22T22:36:07Z", "0", "None"],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    """A time without a zone could be anybody's."""
    assert iso_ns(text) is None


@given(text=st.text(max_size=30))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    result = iso_ns(text)
    assert result is None or isinstance(result, int)
