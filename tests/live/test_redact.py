"""No secret passes, and nothing else is touched."""

import pytest

from chappie.live.redact import Redactor

SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


def test_every_occurrence_of_every_secret_is_starred() -> None:
    redactor = Redactor("thekey1", SECRET)
    assert redactor.bytes(f"a {SECRET} b thekey1 c {SECRET}".encode()) == b"a *** b *** c ***"
    assert redactor.text(f"{SECRET}|thekey1") == "***|***"


def test_data_without_a_secret_is_the_same_object() -> None:
    data = b'{"table":"quote"}'
    assert Redactor(SECRET).bytes(data) is data


def test_a_secret_within_a_secret_leaves_no_rest() -> None:
    assert Redactor("secret", "secret-longer").text("secret-longer") == "***"


@pytest.mark.parametrize(
    "secret", ["plain-secret", "Jq4kWQ_x", "ends-with-W", "Jbegins-so", "ü-wide"]
)
def test_a_secret_is_found_whether_or_not_it_has_a_rare_byte(secret: str) -> None:
    usual = b'{"table":"trade","side":"Buy","price":1.5,"note":"'
    data = usual + secret.encode() + b'"}'
    assert Redactor(secret).bytes(data) == usual + b'***"}'
    assert Redactor(secret).bytes(usual) is usual


def test_words_too_short_to_be_secrets_eat_no_text() -> None:
    assert Redactor("", "a", "order").text("an order") == "an order"


def test_it_does_not_show_what_it_hides() -> None:
    assert SECRET not in repr(Redactor(SECRET))
