"""One alert channel: an Apprise URL, opened, and shown without what is secret in it (K10).

The only module that imports Apprise, and only once a channel is opened: without `alerts.urls`
nothing of it is loaded.
"""

import logging
import re
import threading
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import unquote

from chappie.guardian.alerts.happenings import Alert, Severity
from chappie.live.log import printable

_LOGGER = "apprise"
_STARS = "***"
_WHY_MAX = 200
# Where the host is a server's name; with every other service it may be a token, and is not shown.
_SERVERS = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "gotify", "gotifys"}
    | {"matrix", "matrixs", "mmost", "mmosts", "rocket", "rockets", "mqtt", "mqtts"}
    | {"apprise", "apprises", "syslog"}
)


class ChannelError(Exception):
    """A channel that cannot be opened; the message shows nothing of its URL but the scheme."""


class NoAppriseError(Exception):
    """Apprise is not installed."""


class Channel(Protocol):
    """Where alerts go. ``label`` names it to people."""

    label: str

    def send(self, alert: Alert) -> str | None:
        """Deliver it; None when it was taken, else why not, without secrets. May block."""
        ...


def label(url: str, number: int) -> str:
    """Scheme and, where it is one, the server; ``number`` tells two alike apart."""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or not re.fullmatch(r"[a-z0-9]{2,20}", scheme):
        return f"channel {number}"
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if scheme in _SERVERS and re.fullmatch(r"[A-Za-z0-9.\-\[\]:]{1,100}", host):
        return f"channel {number} ({scheme}://{host})"
    return f"channel {number} ({scheme}://)"


def open_channels(urls: Sequence[str]) -> "list[AppriseChannel]":
    """All of them. Raises `NoAppriseError`, `ChannelError` for the first that is none."""
    try:
        return [AppriseChannel(url, number) for number, url in enumerate(urls, 1)]
    # Whether it is missing or something that it needs is.
    except ImportError:
        raise NoAppriseError(
            "alerts.urls is set but Apprise is not installed: install chappie[alerts]"
        ) from None


class AppriseChannel:
    """A channel over Apprise. Raises `ChannelError` when the URL is none that it knows."""

    def __init__(self, url: str, number: int) -> None:
        self.label = label(url, number)
        self._secrets = _parts(url)
        # Imported here on purpose; that it takes a while is nobody's wait but this channel's.
        import apprise

        asset = apprise.AppriseAsset(
            app_id="chappie", app_desc="chappie", async_mode=False, secure_logging=True
        )
        _Ear.listen()
        service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            raise ChannelError(
                f"{self.label} is no URL that Apprise knows; accepted are those of its services, "
                "such as json://127.0.0.1:9000/"
            )
        self._apprise: Any = apprise.Apprise(asset=asset)
        self._apprise.add(service)
        self._plain = apprise.NotifyFormat.TEXT
        self._kinds: dict[Severity, Any] = {
            Severity.INFO: apprise.NotifyType.INFO,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
        }

    def send(self, alert: Alert) -> str | None:
        _Ear.forget()
        try:
            taken = self._apprise.notify(
                title=alert.title,
                body=alert.body,
                notify_type=self._kinds[alert.severity],
                body_format=self._plain,
            )
        # The edge to a hundred services that others wrote: none of them may end the guardian.
        except Exception as error:  # noqa: BLE001
            return f"it failed with {type(error).__name__}"
        if taken:
            return None
        return self._hidden(_Ear.heard()) or "it did not take it"

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _STARS)
        return printable(" ".join(text.split()))[:_WHY_MAX]


class _Ear(logging.Handler):
    """Keeps the last complaint that Apprise logged in each thread, and lets none reach a stream."""

    _one: "_Ear | None" = None
    _said = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.text = record.getMessage()

    @classmethod
    def listen(cls) -> None:
        if cls._one is None:
            cls._one = cls(level=logging.WARNING)
            logger = logging.getLogger(_LOGGER)
            logger.addHandler(cls._one)
            logger.propagate = False

    @classmethod
    def forget(cls) -> None:
        cls._said.text = ""

    @classmethod
    def heard(cls) -> str:
        return getattr(cls._said, "text", "")


def _parts(url: str) -> list[str]:
    """Every word of the URL that may be a secret, the longest first."""
    _, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    shown = host if url.partition("://")[0].lower() in _SERVERS else ""
    words = [word for word in re.split(r"[/?#&=@:,]", rest) if len(word) >= 4 and word != shown]
    both = dict.fromkeys([*words, *(unquote(word) for word in words)])
    return sorted(both, key=lambda word: (-len(word), word))
