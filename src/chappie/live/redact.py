"""Keeps the key and the secret out of everything that is written, logged or served."""

_STARS = "***"
_SHORTEST = 6

# What market data is made of. A byte outside of it is looked for first: finding no such byte takes
# a tenth of the time of finding no such word, and every message is searched.
_USUAL = frozenset(b' "#$,-.:_{}[]0123456789abcdefghiklmnopqrstuvyABCDEFGILMNOPRSTUVXZ')


class Redactor:
    """Replaces each secret by stars. Looking is cheap; replacing happens only where one is."""

    __slots__ = ("_needles", "_words")

    def __init__(self, *secrets: str) -> None:
        """Shorter words than six characters are no secrets, and would eat ordinary text."""
        # The longest first, should one secret contain the other.
        self._words = tuple(
            sorted({s for s in secrets if len(s) >= _SHORTEST}, key=lambda s: (-len(s), s))
        )
        # Each with one of its bytes.
        self._needles = tuple((_rare(word.encode()), word.encode()) for word in self._words)

    def __repr__(self) -> str:
        return f"Redactor({len(self._words)} secrets)"

    def bytes(self, data: bytes) -> bytes:
        for rare, needle in self._needles:
            if rare in data and needle in data:
                data = data.replace(needle, _STARS.encode())
        return data

    def text(self, text: str) -> str:
        for word in self._words:
            if word in text:
                text = text.replace(word, _STARS)
        return text


def _rare(word: bytes) -> int:
    """A byte of the word that market data hardly holds, if it has one."""
    return next((byte for byte in word if byte not in _USUAL), word[0])
