"""Keys, signatures and expiry: who is asking, by the rules of the venue (protocol section 2).

The signature is an HMAC-SHA256 over verb, raw path with its query, expiry and raw body. The
expiry is compared with the venue's own clock before anything else happens to the request.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

import msgspec

from chappie.simvenue.options import SECOND_NS, AccountOptions

PERMISSIONS = ("order", "orderCancel", "withdraw")

INVALID_KEY = "Invalid API Key."
BAD_SIGNATURE = "Signature not valid."
KEY_DISABLED = "This key is disabled."
AUTHORIZATION_REQUIRED = "Authorization Required"
ACCESS_DENIED = "Access Denied"


class AuthRefusal(Exception):
    """A login that the venue does not accept, with the status and text it answers."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Key(msgspec.Struct, frozen=True):
    """One API key: whose it is and what it may do."""

    api_key: str
    secret: str
    account: int
    permissions: tuple[str, ...]

    def may(self, permission: str) -> bool:
        """Whether the key allows an action; `order` includes what `orderCancel` allows."""
        if permission == "orderCancel":
            return "order" in self.permissions or "orderCancel" in self.permissions
        return permission in self.permissions


class Claim(msgspec.Struct, frozen=True):
    """The three values that a client logs in with, as it sent them."""

    api_key: str
    expires: str
    signature: str


def keys_of(accounts: Iterable[AccountOptions]) -> dict[str, Key]:
    """The keys by their id; two accounts with one key id are a mistake of the caller."""
    keys: dict[str, Key] = {}
    for options in accounts:
        for permission in options.permissions:
            if permission not in PERMISSIONS:
                raise ValueError(f"unknown permission {permission!r}; known are {PERMISSIONS}")
        if options.api_key in keys:
            raise ValueError(f"the key {options.api_key} is given twice")
        keys[options.api_key] = Key(
            options.api_key, options.secret, options.account, options.permissions
        )
    return keys


def signature(secret: str, verb: str, path: str, expires: str, body: bytes = b"") -> str:
    """The signature that a client with this secret sends, in lower-case hex."""
    signed = verb.encode() + path.encode() + expires.encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def claim_in(values: Mapping[str, str]) -> Claim | None:
    """The login in headers or query parameters with lower-case names; none if there is none."""
    api_key = values.get("api-key")
    if not api_key:
        return None
    return Claim(api_key, values.get("api-expires", ""), values.get("api-signature", ""))


def log_in(
    keys: Mapping[str, Key], claim: Claim, verb: str, path: str, body: bytes, wall_ns: int
) -> Key:
    """The key behind a claim; raises AuthRefusal with the venue's own words otherwise.

    An expiry in milliseconds passes, as it does there, since it is merely far in the future.
    """
    key = keys.get(claim.api_key)
    if key is None:
        raise AuthRefusal(401, INVALID_KEY)
    if not claim.expires.isascii() or not claim.expires.isdigit():
        raise AuthRefusal(401, BAD_SIGNATURE)
    if int(claim.expires) * SECOND_NS < wall_ns:
        raise AuthRefusal(400, expired_text(wall_ns))
    expected = signature(key.secret, verb, path, claim.expires, body)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise AuthRefusal(401, BAD_SIGNATURE)
    return key


def expired_text(wall_ns: int) -> str:
    """The refusal of a late request; it carries the venue's own time."""
    return (
        f"This request has expired - `expires` is in the past. Current time: {wall_ns // SECOND_NS}"
    )
