from chappie.model.commands import HttpCall
from chappie.venues.bitmex import BitmexSigner
from chappie.venues.bitmex.signing import signature

# The public documentation's sample key (protocol section 2).
KEY = "LAqUlngMIQkIUjXMUreyu3qn"
SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
ORDER = (
    b'{"symbol":"XBTM15","price":219.0,"clOrdID":"mm_bitmex_1a/oemUeQ4CAJZgP3fjHsA","orderQty":98}'
)

SIMPLE = "c7682d435d0cfe87c16098df34ef2eb5a549d4c5a3c2b1f0f77b8af73423bf00"
WITH_QUERY = "e2f422547eecb5b3cb29ade2127e21b858b235b386bfa45e1c1756eb3383919f"
WITH_BODY = "1749cd2ccae4aa49048ae09f0b95110cee706e0944e6a14ad0b3a8cb45bd336b"
REALTIME = "6d459dc02866d35a2b965edeecc68063d488e296b77982235fc6eca24b934945"
QUERY = "?filter=%7B%22symbol%22%3A+%22XBTM15%22%7D"


def test_a_plain_read_is_signed_as_the_public_vector_says() -> None:
    assert signature(SECRET, "GET", "/api/v1/instrument", 1518064236, b"") == SIMPLE


def test_the_query_string_is_signed_as_it_is_sent() -> None:
    assert signature(SECRET, "GET", "/api/v1/instrument" + QUERY, 1518064237, b"") == WITH_QUERY


def test_the_raw_body_is_signed() -> None:
    assert signature(SECRET, "POST", "/api/v1/order", 1518064238, ORDER) == WITH_BODY


def test_a_call_is_signed_under_the_root_that_it_goes_to() -> None:
    signer = BitmexSigner(KEY, SECRET)
    assert signer.sign(HttpCall("GET", "/instrument" + QUERY), "/api/v1", 1518064237) == {
        "api-key": KEY,
        "api-expires": "1518064237",
        "api-signature": WITH_QUERY,
    }
    posted = signer.sign(HttpCall("POST", "/order", ORDER), "/api/v1", 1518064238)
    assert posted["api-signature"] == WITH_BODY


def test_a_login_signs_the_path_of_the_websocket() -> None:
    login = BitmexSigner(KEY, SECRET).login("/realtime", 1518064236)
    assert login["api-signature"] == REALTIME


def test_a_login_does_not_sign_the_query_string() -> None:
    login = BitmexSigner(KEY, SECRET).login("/realtime?subscribe=trade:XBTUSD", 1518064236)
    assert login["api-signature"] == REALTIME


def test_a_signer_does_not_show_its_secret() -> None:
    signer = BitmexSigner(KEY, SECRET)
    shown = f"{signer!r} {signer}"
    assert SECRET not in shown
    assert KEY not in shown
