"""Forty and more wrong configuration files: each is one useful line and 64, before anything is
touched, whichever command reads it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.cli import settings
from chappie.cli.main import main
from tests.conftest import ROOT

HIDDEN = "hunter2hunter2"
LONG = "1" * 5000
# name: the file, and what its one line must say: the key, and what is accepted.
WRONG: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    # not TOML, or not text
    "a table that does not end": ("[bot\n", ("not valid TOML", "line 1")),
    "a word that is no value": ("[bot]\nid = maybe", ("not valid TOML", "line 2")),
    "no value": ("[bot]\norder_qty =", ("not valid TOML", "end of document")),
    "a key twice": ("[bot]\nid = 'a'\nid = 'b'", ("not valid TOML", "overwrite a value")),
    "a section twice": ("[bot]\nid = 'a'\n[bot]\nid = 'b'", ("not valid TOML", "line 3")),
    "a file of another kind": ("bot:\n\tid: a\n", ("not valid TOML", "line 1")),
    "json": ('{"bot": {"id": "a"}}', ("not valid TOML", "line 1")),
    "a control character": ("[bot]\nid = 'a\x07b'", ("not valid TOML", "line 2")),
    "nested without end": ("x = " + "[" * 5000, ("not valid TOML", "nested too deeply")),
    "a number of 5000 digits": (f"[bot]\norder_qty = {LONG}", ("not valid TOML", "digits")),
    "a date that is none": ("[bot]\nid = 2026-13-45", ("not valid TOML", "line 2")),
    "binary": (bytes(range(256)), ("not UTF-8 text, at byte 128",)),
    "utf-16": ("[bot]\nid = 'a'\n".encode("utf-16"), ("not UTF-8 text, at byte 0",)),
    "latin-1": ("[bot]\nid = 'é'\n".encode("latin-1"), ("not UTF-8 text, at byte 12",)),
    "a byte order mark": ("\ufeff[bot]\nid = 'a'", ("byte order mark", "UTF-8 without")),
    "too large": (b"#" * (1024 * 1024 + 1), ("larger than 1048576 bytes",)),
    # keys that do not exist
    "an unknown key": ("[bot]\nalow_trade = true", ("bot.alow_trade", "did you mean bot.allow_tr")),
    "an unknown section": ("[bots]\nid = 'a'", ("unknown key bots", "did you mean bot", "venue, ")),
    "a key without its section": ("allow_trade = true", ("unknown key allow_trade", "sections")),
    "a section below another": ("[policy.cykle]\nqty = 1", ("policy.cykle", "policy.cycle")),
    "a value for a section": ("bot = 3", ("bot is a section", "order_qty, max_position")),
    "an array of tables": ("[[bot]]\nid = 'a'", ("bot is a section", "order_qty, max_position")),
    "a key that would ring": ('"b\\u0007" = 1', ("unknown key b\\x07", "accepted sections are")),
    # credentials
    "an api key": (f"[venue]\napi_key = '{HIDDEN}'", ("venue.api_key", "CHAPPIE_API_KEY")),
    "a secret of its own": (f"secret = '{HIDDEN}'", ("unknown key secret", "CHAPPIE_API_SECRET")),
    "a secret in a table": (f"[bot.id]\nsecret = '{HIDDEN}'", ("bot.id = a table", "a string")),
    "a secret in an array": (
        f"[venue]\nsymbol = ['{HIDDEN}']", ("venue.symbol = an array", "a string")),
    "a password in a url": (
        f"[venue]\nrest_url = 'http://me:{HIDDEN}@h/'\nws_url = 'ws://h/'",
        ("venue.rest_url", "user name or password", "CHAPPIE_API_KEY")),
    "a password in what is no url": (
        f"[venue]\nrest_url = 'me:{HIDDEN}@h'\nws_url = 'ws://h/'",
        ("venue.rest_url", "user name or password")),
    "a token in an alert url that is no array": (
        f"[alerts]\nurls = 'tgram://{HIDDEN}'", ("alerts.urls = ***", "an array of strings")),
    # wrong types
    "a text for a number": ("[bot]\norder_qty = '100'", ("bot.order_qty = '100'", "whole number")),
    "half a contract": ("[bot]\norder_qty = 1.5", ("bot.order_qty = 1.5", "a whole number")),
    "a truth value for a number": ("[bot]\nmax_position = true", ("bot.max_position", "a whole")),
    "a truth value for seconds": ("[feed]\ncheck_every_s = true", ("feed.check_every_s", "number")),
    "a number for a text": ("[bot]\nid = 7", ("bot.id = 7", "a string")),
    "a date for seconds": ("[reconcile]\nevery_s = 1979-05-27", ("reconcile.every_s", "a number")),
    "an array for seconds": ("[reconcile]\nevery_s = [1]", ("reconcile.every_s", "a number")),
    "seconds of a unit": ("[dead_man]\ntimeout_s = '60s'", ("dead_man.timeout_s", "a number")),
    "an unknown style": ("[orders]\nstyle = 'maker'", ("orders.style", "post_only, limit, market")),
    "an unknown venue": ("[venue]\nkind = 'binance'", ("venue.kind", "simulated, bitmex")),
    "no number at all": ("[feed]\nfault_after_s = nan", ("feed.fault_after_s = nan", "a number")),
    "for ever": ("[feed]\nfault_after_s = inf", ("feed.fault_after_s = inf", "a number")),
    "for ever, in digits": ("[feed]\nfault_after_s = 1e400", ("feed.fault_after_s", "a number")),
    "more than 63 bits": ("[bot]\norder_qty = 9999999999999999999", ("bot.order_qty", "63 bits")),
    # values that cannot be
    "no time": ("[orders]\nack_timeout_s = 0", ("orders.ack_timeout_s", "above 0")),
    "minus no time": ("[orders]\nsend_deadline_s = -0.0", ("orders.send_deadline_s", "above 0")),
    "a time before now": ("[clock]\nmax_skew_s = -1", ("clock.max_skew_s", "above 0")),
    "a year": ("[supervisor]\nwindow_s = 31536000", ("supervisor.window_s", "at most 30 days")),
    "no contracts": ("[bot]\norder_qty = 0", ("bot.order_qty", "above 0")),
    "a short maximum": ("[bot]\nmax_position = -1000", ("bot.max_position", "above 0")),
    "no restarts": ("[supervisor]\nmax_restarts = 0", ("supervisor.max_restarts", "above 0")),
    "a disk of no bytes": ("[state]\nmax_bytes = 0", ("state.max_bytes", "above 0")),
    "a name with a blank": ("[bot]\nid = 'a b'", ("bot.id", "1 to 12 letters")),
    "a name that is too long": ("[bot]\nid = 'abcdefghijklm'", ("bot.id", "1 to 12 letters")),
    "a symbol in small letters": ("[venue]\nsymbol = 'xbtusd'", ("venue.symbol", "XBTUSD")),
    "no policy": ("[bot]\npolicy = ' '", ("bot.policy", "hold, cycle, a model folder")),
    "no folder": ("[state]\ndir = ''", ("state.dir", "a folder")),
    "a port above all": ("[operator]\nport = 65536", ("operator.port", "0 to 65535")),
    "a port below zero": ("[operator]\nport = -1", ("operator.port", "0 to 65535")),
    "open to the world": ("[operator]\nhost = '0.0.0.0'", ("operator.host", "loopback")),
    # combinations that cannot be
    "orders larger than the position": (
        "[bot]\norder_qty = 200\nmax_position = 100", ("bot.max_position", "bot.order_qty = 200")),
    "a cycle larger than the position": (
        "[bot]\npolicy = 'cycle'\n[policy.cycle]\nqty = 2000",
        ("policy.cycle.qty", "bot.max_position = 1000")),
    "an exchange that closed": ("[venue]\nkind = 'bitmex'", ("venue.kind", "venue.rest_url and")),
    "one url of two": ("[venue]\nws_url = 'ws://h/x'", ("venue.ws_url", "both or neither")),
    "urls of the wrong kinds": (
        "[venue]\nrest_url = 'ws://h/'\nws_url = 'http://h/'", ("venue.rest_url", "http://")),
    "unlocked before locked": (
        "[rate_limit]\nunlock_above = 9", ("rate_limit.unlock_above", "lock_below = 10")),
    "a soft stop after the hard one": (
        "[feed]\nsoft_stop_after_s = 20", ("feed.fault_after_s", "soft_stop_after_s = 20.0")),
    "checked more rarely than it stops": (
        "[feed]\ncheck_every_s = 6", ("feed.check_every_s", "soft_stop_after_s = 5.0")),
    "a beat rarer than its limit": (
        "[supervisor]\nheartbeat_timeout_s = 0.25",
        ("supervisor.heartbeat_timeout_s", "feed.check_every_s = 0.25")),
    "a switch renewed after it fires": (
        "[dead_man]\nrefresh_every_s = 60", ("dead_man.timeout_s", "refresh_every_s = 60.0")),
    "a switch that fires before an order arrives": (
        "[dead_man]\ntimeout_s = 4\nrefresh_every_s = 1",
        ("dead_man.timeout_s", "orders.expires_after_s + 2 = 4")),
    "resolved before it can arrive": (
        "[orders]\nresolve_within_s = 3", ("orders.resolve_within_s", "expires_after_s + 1 = 3")),
    "resolved before it is asked for": (
        "[orders]\nack_timeout_s = 15", ("orders.resolve_within_s", "ack_timeout_s = 15.0")),
    "a fault before the second reconciliation": (
        "[reconcile]\nevery_s = 60", ("reconcile.fault_after_s", "every_s = 60.0")),
    "a back-off above its bound": (
        "[supervisor]\nbackoff_initial_s = 61", ("supervisor.backoff_max_s", "initial_s = 61.0")),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; the signals that a command takes are given back afterwards."""
    taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in taken}
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def write(folder: Path, text: str | bytes) -> None:
    (folder / "chappie.toml").write_bytes(text.encode() if isinstance(text, str) else text)


def the_line(
    command: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str], *left: str
) -> str:
    """The one line that a command says before it ends with 64, having touched nothing."""
    assert main(command) == settings.EXIT_CODE
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.isprintable()
    assert len(line) < 500
    assert "Traceback" not in line
    assert HIDDEN not in line
    assert sorted(path.name for path in folder.iterdir()) == sorted(left)
    return line


@pytest.mark.parametrize("command", ["trade", "up"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_useful_line_and_64_and_nothing_is_touched(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    text, says = WRONG[name]
    write(folder, text)
    line = the_line((command,), folder, capsys, "chappie.toml")
    assert line.startswith("chappie.toml: ")
    for words in says:
        assert words in line


def test_there_are_forty_of_them() -> None:
    assert len(WRONG) >= 40


def test_a_folder_of_that_name_is_not_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "chappie.toml").mkdir()
    assert "is a folder" in the_line(("trade",), folder, capsys, "chappie.toml")


def test_a_link_that_leads_nowhere_is_not_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "chappie.toml").symlink_to("nowhere")
    assert "does not exist" not in the_line(("trade",), folder, capsys, "chappie.toml")


def test_a_pipe_is_not_read_and_not_waited_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "chappie.toml")
    assert "is no ordinary file" in the_line(("trade",), folder, capsys, "chappie.toml")


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("nowhere.toml", "does not exist"),
        ("a" * 300, "cannot be read: File name too long"),
        # What a disk with a bad sector says.
        ("/proc/self/mem", "cannot be read: Input/output error"),
    ],
)
def test_a_named_file_that_cannot_be_read_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], named: str, says: str
) -> None:
    line = the_line(("trade", "--config", named), folder, capsys)
    assert line.startswith(named[:60])
    assert says in line


def test_a_file_that_its_reader_may_not_open_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "[bot]\nid = 'a'\n")
    (folder / "chappie.toml").chmod(0)
    if os.access(folder / "chappie.toml", os.R_OK):
        pytest.skip("whoever runs this may read every file")
    assert "Permission denied" in the_line(("trade",), folder, capsys, "chappie.toml")


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "[bot]\n\tid\t=\t'a'\t# tabs\n"])
def test_an_empty_file_and_tabs_are_not_wrong(folder: Path, text: str) -> None:
    write(folder, text)
    found = settings.load(None, [], {}, folder)
    assert found.config.bot.allow_trade is False


def test_a_doubtful_allow_trade_is_not_wrong_either_and_shows_nothing_of_what_it_holds(
    folder: Path,
) -> None:
    write(folder, f"[bot.allow_trade]\nsecret = '{HIDDEN}'\n")
    found = settings.load(None, [], {}, folder)
    assert found.config.bot.allow_trade is False
    (doubt,) = found.warnings
    assert "counts as false" in doubt
    assert HIDDEN not in doubt


@pytest.mark.processes
@pytest.mark.parametrize("command", ["trade", "up", "status"])
@pytest.mark.parametrize("name", ["an unknown key", "a byte order mark", "an api key"])
def test_as_a_process_it_says_the_same_and_leaves_nothing(
    tmp_path: Path, name: str, command: str
) -> None:
    text, says = WRONG[name]
    write(tmp_path, text)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(
        [sys.executable, "-m", "chappie", command],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (run.returncode, run.stdout) == (settings.EXIT_CODE, "")
    (line,) = run.stderr.splitlines()
    assert all(words in line for words in says)
    assert HIDDEN not in line
    assert [path.name for path in tmp_path.iterdir()] == ["chappie.toml"]
