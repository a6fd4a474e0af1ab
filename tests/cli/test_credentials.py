"""Credentials: from the environment or from files, never shown, refused in words."""

from pathlib import Path

import pytest

from chappie.cli import credentials
from chappie.cli.settings import ConfigProblem

KEY = "LAqUlngMIQkIUjXMUreyu3qn"
SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


def private(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_none_named_is_none_and_no_problem() -> None:
    assert credentials.load({}) == (None, ())


def test_they_come_from_the_environment() -> None:
    found, warnings = credentials.load({"CHAPPIE_API_KEY": KEY, "CHAPPIE_API_SECRET": SECRET})
    assert found == credentials.Credentials(KEY, SECRET)
    assert warnings == ()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_they_come_from_files_without_the_line_end(tmp_path: Path, end: str) -> None:
    env = {
        "CHAPPIE_API_KEY_FILE": private(tmp_path / "key", KEY + end),
        "CHAPPIE_API_SECRET_FILE": private(tmp_path / "secret", SECRET + end),
    }
    assert credentials.load(env) == (credentials.Credentials(KEY, SECRET), ())


def test_a_file_that_others_may_read_is_warned_about(tmp_path: Path) -> None:
    env = {
        "CHAPPIE_API_KEY": KEY,
        "CHAPPIE_API_SECRET_FILE": private(tmp_path / "secret", SECRET, 0o644),
    }
    found, warnings = credentials.load(env)
    assert found is not None
    assert len(warnings) == 1
    assert "0600" in warnings[0]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"CHAPPIE_API_KEY": KEY}, "CHAPPIE_API_KEY is given without CHAPPIE_API_SECRET"),
        ({"CHAPPIE_API_SECRET": SECRET}, "without CHAPPIE_API_KEY"),
        (
            {"CHAPPIE_API_KEY": KEY, "CHAPPIE_API_KEY_FILE": "x", "CHAPPIE_API_SECRET": SECRET},
            "both given",
        ),
        ({"CHAPPIE_API_KEY_FILE": "nowhere", "CHAPPIE_API_SECRET": SECRET}, "No such file"),
        ({"CHAPPIE_API_KEY_FILE": "/", "CHAPPIE_API_SECRET": SECRET}, "Is a directory"),
        ({"CHAPPIE_API_KEY": "", "CHAPPIE_API_SECRET": SECRET}, "empty"),
        ({"CHAPPIE_API_KEY": "two words", "CHAPPIE_API_SECRET": SECRET}, "without spaces"),
        ({"CHAPPIE_API_KEY": KEY, "CHAPPIE_API_SECRET": "ключ"}, "printable ASCII"),
    ],
)
def test_what_cannot_be_used_is_said_without_saying_a_secret(
    env: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigProblem, match=words) as caught:
        credentials.load(env)
    assert SECRET not in str(caught.value)


def test_they_do_not_show_themselves() -> None:
    shown = repr(credentials.Credentials(KEY, SECRET))
    assert KEY not in shown
    assert SECRET not in shown
