"""Keys, signatures and expiry against the published vectors and the recorded refusals."""

from __future__ import annotations

import pytest

from chappie.simvenue.auth import AuthRefusal, Claim, Key, claim_in, keys_of, log_in, signature
from chappie.simvenue.options import SECOND_NS, AccountOptions

# The public sample of the venue's own documentation (protocol section 2).
SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
API_KEY = "LAqUlngMIQkIUjXMUreyu3qn"

KEYS = keys_of([AccountOptions(account=7, api_key=API_KEY, secret=SECRET)])
BEFORE_NS = 1518064230 * SECOND_NS

BODY = (
    b'{"symbol":"XBTM15","price":219.0,"clOrdID":"mm_bitmex_1a/oemUeQ4CAJZgP3fjHsA","orderQty":98}'
)
VECTORS = [
    ("GET", "/api/v1/instrument", "1518064236", b"",
     "c7682d435d0cfe87c16098df34ef2eb5a549d4c5a3c2b1f0f77b8af73423bf00"),
    ("GET", "/api/v1/instrument?filter=%7B%22symbol%22%3A+%22XBTM15%22%7D", "1518064237", b"",
     "e2f422547eecb5b3cb29ade2127e21b858b235b386bfa45e1c1756eb3383919f"),
    ("POST", "/api/v1/order", "1518064238", BODY,
     "1749cd2ccae4aa49048ae09f0b95110cee706e0944e6a14ad0b3a8cb45bd336b"),
    ("GET", "/realtime", "1518064236", b"",
     "6d459dc02866d35a2b965edeecc68063d488e296b77982235fc6eca24b934945"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "path", "expires", "body", "expected"), VECTORS)
def test_the_published_vectors_sign_as_published(
    verb: str, path: str, expires: str, body: bytes, expected: str
) -> None:
    assert signature(SECRET, verb, path, expires, body) == expected
    claim = Claim(API_KEY, expires, expected)
    assert log_in(KEYS, claim, verb, path, body, BEFORE_NS).account == 7


def _refusal(claim: Claim, path: str = "/api/v1/order", body: bytes = b"") -> AuthRefusal:
    with pytest.raises(AuthRefusal) as caught:
        log_in(KEYS, claim, "GET", path, body, BEFORE_NS)
    return caught.value


def test_an_unknown_key_is_invalid() -> None:
    refusal = _refusal(Claim("nobody", "1518064236", "00"))
    assert (refusal.status, refusal.message) == (401, "Invalid API Key.")


def test_a_signature_over_other_bytes_is_not_valid() -> None:
    good = signature(SECRET, "GET", "/api/v1/order", "1518064236")
    for path, body in (("/api/v1/order?a=1", b""), ("/api/v1/order", b"{}")):
        refusal = _refusal(Claim(API_KEY, "1518064236", good), path, body)
        assert (refusal.status, refusal.message) == (401, "Signature not valid.")


def test_a_late_request_is_told_the_venues_time() -> None:
    late = signature(SECRET, "GET", "/api/v1/order", "1518064229")
    refusal = _refusal(Claim(API_KEY, "1518064229", late))
    assert refusal.status == 400
    assert refusal.message == (
        "This request has expired - `expires` is in the past. Current time: 1518064230"
    )


def test_an_expiry_in_milliseconds_is_merely_far_in_the_future() -> None:
    expires = "1518064236000"
    claim = Claim(API_KEY, expires, signature(SECRET, "GET", "/realtime", expires))
    assert log_in(KEYS, claim, "GET", "/realtime", b"", BEFORE_NS).api_key == API_KEY


@pytest.mark.parametrize("expires", ["", "soon", "-5", "1518064236.5", "١٥١٨٠٦٤٢٣٦"])
def test_an_expiry_that_is_no_number_does_not_log_in(expires: str) -> None:
    good = signature(SECRET, "GET", "/realtime", expires)
    assert _refusal(Claim(API_KEY, expires, good), "/realtime").status == 401


def test_a_signature_of_strange_letters_is_refused_and_not_an_error() -> None:
    assert _refusal(Claim(API_KEY, "1518064236", "é" * 64)).message == "Signature not valid."


def test_a_key_may_do_what_its_permissions_say() -> None:
    trader = Key("k", "s", 1, ("order",))
    canceller = Key("k", "s", 1, ("orderCancel",))
    reader = Key("k", "s", 1, ())
    assert trader.may("order")
    assert trader.may("orderCancel")
    assert not trader.may("withdraw")
    assert canceller.may("orderCancel")
    assert not canceller.may("order")
    assert not reader.may("order")
    assert not reader.may("orderCancel")


def test_a_claim_without_a_key_is_no_claim() -> None:
    assert claim_in({"api-expires": "1", "api-signature": "x"}) is None
    assert claim_in({"api-key": "k"}) == Claim("k", "", "")


def test_two_accounts_cannot_share_a_key() -> None:
    one = AccountOptions(account=1, api_key="k", secret="s")
    with pytest.raises(ValueError, match="given twice"):
        keys_of([one, AccountOptions(account=2, api_key="k", secret="t")])


def test_a_permission_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown permission"):
        keys_of([AccountOptions(account=1, api_key="k", secret="s", permissions=("fly",))])
