"""Signatures over requests and websocket logins (protocol section 2)."""

import hmac
from hashlib import sha256

from chappie.model.commands import HttpCall


def signature(secret: str, verb: str, path: str, expires_s: int, body: bytes) -> str:
    """Lower-case hex HMAC-SHA256 over ``verb + path + expires + body``.

    ``path`` starts with ``/api/v1`` and holds the query string exactly as it is sent.
    """
    message = f"{verb}{path}{expires_s}".encode() + body
    return hmac.new(secret.encode(), message, sha256).hexdigest()


class BitmexSigner:
    """Signs with one key. The secret never leaves this object."""

    __slots__ = ("_key", "_secret")

    def __init__(self, key: str, secret: str) -> None:
        self._key = key
        self._secret = secret

    def __repr__(self) -> str:
        return "BitmexSigner(***)"

    def sign(self, call: HttpCall, root: str, expires_s: int) -> dict[str, str]:
        """Headers for a REST call under the url path ``root``, such as ``/api/v1``."""
        return self._headers(call.method, root + call.path, expires_s, call.body)

    def login(self, path: str, expires_s: int) -> dict[str, str]:
        """Headers for a websocket upgrade.

        Logging in on the upgrade leaves no key in a frame: the acknowledgement of the
        ``authKeyExpires`` command would echo key and signature. The query string is not signed.
        """
        return self._headers("GET", path.partition("?")[0], expires_s, b"")

    def _headers(self, verb: str, path: str, expires_s: int, body: bytes) -> dict[str, str]:
        return {
            "api-key": self._key,
            "api-expires": str(expires_s),
            "api-signature": signature(self._secret, verb, path, expires_s, body),
        }
