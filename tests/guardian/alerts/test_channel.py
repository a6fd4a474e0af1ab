import logging
import subprocess
import sys

import pytest

from chappie.guardian.alerts.channel import AppriseChannel, ChannelError, label, open_channels
from chappie.guardian.alerts.happenings import Alert, Severity
from tests.conftest import ROOT
from tests.guardian.receivers import nobody, receiving

ALERT = Alert("killed", Severity.CRITICAL, "a <title> & more", "line one\nline two < three")


def test_an_alert_arrives_with_its_title_body_and_severity() -> None:
    with receiving() as receiver:
        (channel,) = open_channels([receiver.url])
        assert channel.send(ALERT) is None
    (got,) = receiver.got
    assert (got["title"], got["message"]) == (ALERT.title, ALERT.body)
    assert got["type"] == "failure"


@pytest.mark.parametrize(
    ("severity", "kind"), [(Severity.INFO, "info"), (Severity.WARNING, "warning")]
)
def test_every_severity_has_a_kind(severity: Severity, kind: str) -> None:
    with receiving() as receiver:
        assert AppriseChannel(receiver.url, 1).send(Alert("a", severity, "t", "b")) is None
    assert receiver.got[0]["type"] == kind


def test_a_refusal_is_told_without_what_is_secret(capsys: pytest.CaptureFixture[str]) -> None:
    with receiving(status=401) as receiver:
        url = f"json://user:hunter2@127.0.0.1:{receiver.port}/s3cr3tpath?k=v4lue"
        why = AppriseChannel(url, 1).send(ALERT)
    assert why is not None
    assert "401" in why
    assert not any(word in why for word in ("hunter2", "s3cr3tpath", "v4lue", "user"))
    assert capsys.readouterr() == ("", "")


def test_nobody_there_is_told_and_raises_nothing() -> None:
    assert "error" in (AppriseChannel(nobody(), 1).send(ALERT) or "")


def test_a_service_that_raises_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = AppriseChannel(nobody(), 1)

    def raises(**_: object) -> bool:
        raise RuntimeError("with s3cr3t")

    monkeypatch.setattr(channel._apprise, "notify", raises)
    assert channel.send(ALERT) == "it failed with RuntimeError"


def test_what_a_service_logs_of_its_url_is_starred() -> None:
    channel = AppriseChannel("json://127.0.0.1:1/s3cr3tpath/p%40th2", 1)

    def complains(**_: object) -> bool:
        logging.getLogger("apprise").warning("no route to /s3cr3tpath and p@th2\x1b[2J")
        return False

    channel._apprise.notify = complains
    assert channel.send(ALERT) == "no route to /*** and ***\\x1b[2J"


@pytest.mark.parametrize("url", ["", "bare", "nope://token-token", "json://", "slack://x"])
def test_what_apprise_does_not_know_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ChannelError) as caught:
        open_channels([url])
    assert "token" not in str(caught.value)
    assert "channel 1" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("json://127.0.0.1:9000/token", "channel 2 (json://127.0.0.1:9000)"),
        ("JSONS://user:pw@example.org/a?b=c", "channel 2 (jsons://example.org)"),
        ("mailto://user:pw@gmail.com", "channel 2 (mailto://gmail.com)"),
        ("tgram://123456:token/42/", "channel 2 (tgram://)"),
        ("discord://id/token", "channel 2 (discord://)"),
        ("ntfy://a-secret-topic", "channel 2 (ntfy://)"),
        ("json://a b\x1b/", "channel 2 (json://)"),
        ("a-secret-token", "channel 2"),
    ],
)
def test_people_see_the_scheme_and_only_a_server_s_name(url: str, shown: str) -> None:
    assert label(url, 2) == shown


def test_nothing_that_apprise_logs_reaches_a_stream_whoever_sets_logging_up() -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from chappie.guardian.alerts.happenings import Alert, Severity\n"
        "from chappie.guardian.alerts.channel import AppriseChannel, ChannelError\n"
        "AppriseChannel('json://127.0.0.1:1/t0k3n', 1).send(Alert('', Severity.INFO, 't', 'b'))\n"
        "try:\n    AppriseChannel('nope://t0k3n', 1)\nexcept ChannelError:\n    pass\n"
    )
    environ = {"PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "t0k3n" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("module", ["chappie.guardian.guardian", "chappie.cli.up"])
def test_nothing_of_apprise_is_loaded_before_a_channel_is_opened(module: str) -> None:
    code = (
        f"import sys, {module}; from chappie.guardian.alerts.channel import open_channels; "
        "assert open_channels([]) == []; assert 'apprise' not in sys.modules"
    )
    environ = {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
