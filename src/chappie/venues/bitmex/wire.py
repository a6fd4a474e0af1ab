"""The shapes on the wire: frames of the hot tables as typed structs, the rest as plain rows.

Columns that we do not read are skipped by the decoder. Optional columns are None when the venue
left them out (nulls are omitted since 2023) and when it sent an explicit null (updates clear so).
"""

from typing import Any, Literal, TypeAlias

import msgspec

Action: TypeAlias = Literal["partial", "insert", "update", "delete"]
SideWord: TypeAlias = Literal["Buy", "Sell"]

# JSON rows of the rare tables: any column, any JSON value. The mirror merges them untyped and
# `session.py` reads the columns that it needs with checks.
Row: TypeAlias = dict[str, Any]


class L2Row(msgspec.Struct, gc=False):
    """One price level. Deletes have no size; before April 2023 only inserts had a price."""

    symbol: str
    id: int
    side: SideWord
    size: int | None = None
    price: float | None = None


class L2Frame(msgspec.Struct, gc=False):
    action: Action
    data: list[L2Row]
    keys: list[str] | None = None


class QuoteRow(msgspec.Struct, gc=False):
    symbol: str
    timestamp: str | None = None
    bidSize: int | None = None  # noqa: N815  the venue's column names
    bidPrice: float | None = None  # noqa: N815
    askPrice: float | None = None  # noqa: N815
    askSize: int | None = None  # noqa: N815


class QuoteFrame(msgspec.Struct, gc=False):
    action: Action
    data: list[QuoteRow]


class TradeRow(msgspec.Struct, gc=False):
    symbol: str
    size: int
    price: float
    side: Literal["Buy", "Sell", ""] | None = None


class TradeFrame(msgspec.Struct, gc=False):
    action: Action
    data: list[TradeRow]


class TableFrame(msgspec.Struct, gc=False):
    """A frame of any other table."""

    table: str
    action: Action
    data: list[Row]
    keys: list[str] | None = None


class Envelope(msgspec.Struct, gc=False):
    """The discriminating keys of every frame that is no table's; all are optional."""

    table: str | None = None
    info: str | None = None
    timestamp: str | None = None
    success: bool | None = None
    subscribe: str | None = None
    unsubscribe: str | None = None
    error: str | None = None
    status: int | None = None
    request: Any = None  # echoes whatever was asked, in the form in which it was asked


decode_l2 = msgspec.json.Decoder(L2Frame).decode
decode_quote = msgspec.json.Decoder(QuoteFrame).decode
decode_trade = msgspec.json.Decoder(TradeFrame).decode
decode_table = msgspec.json.Decoder(TableFrame).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
