import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.model.timestamps import http_date, http_date_ns, iso_ns, ns_iso

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


@given(wall_ns=WALL_NS)
def test_the_date_of_an_answer_survives_to_the_second(wall_ns: int) -> None:
    assert http_date_ns(http_date(wall_ns)) == wall_ns // 10**9 * 10**9


def test_the_date_of_an_answer_is_read_as_the_standard_writes_it() -> None:
    assert http_date_ns("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777 * 10**9
    assert http_date(784_111_777 * 10**9) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_no_date_of_an_answer_is_none(text: str) -> None:
    assert http_date_ns(text) is None
