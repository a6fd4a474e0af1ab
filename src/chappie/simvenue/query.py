"""Reading requests: arguments of any encoding, and the query language of the table routes.

Arguments come as JSON, urlencoded or query string on any verb but GET, whose body must be
empty (protocol sections 2 and 5: real clients use all three, also for DELETE). The table
routes filter, order, cut and trim rows with symbol, filter, columns, count, start, reverse,
startTime and endTime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec

from chappie.simvenue.envelopes import BODY_IN_GET, Json, parse_iso
from chappie.simvenue.options import SECOND_NS

Row = dict[str, Json]

OPEN_STATUSES = ("New", "PartiallyFilled", "PendingNew", "PendingReplace", "PendingCancel")

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no", "")


class BadArgument(Exception):
    """An argument that is missing or makes no sense: a 400 with this text."""


class Args:
    """The arguments of one request, whatever encoding they came in."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self.values = values

    def has(self, name: str) -> bool:
        """Whether the argument was sent with a value."""
        return self.values.get(name) is not None

    def required(self, *names: str) -> None:
        """Refuse the request in the venue's words when one of these is missing."""
        for name in names:
            if self.values.get(name) in (None, ""):
                raise BadArgument(f"'{name}' is a required arg.")

    def text(self, name: str) -> str | None:
        """A string; an empty one counts as not sent."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, list, dict)):
            raise BadArgument(f"'{name}' must be a string.")
        return str(value)

    def integer(self, name: str) -> int | None:
        """A whole number; 100.0 is one, 0.5 is not."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value):
            raise BadArgument(f"'{name}' must be an integer.")
        return int(value)

    def number(self, name: str) -> float | None:
        """A number, also one sent as text."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            raise BadArgument(f"'{name}' must be a number.")
        if isinstance(value, (int, float)):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise BadArgument(f"'{name}' must be a number.") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise BadArgument(f"'{name}' must be a number.")
        return number

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() in _TRUE:
            return True
        if str(value).lower() in _FALSE:
            return False
        raise BadArgument(f"'{name}' must be a boolean.")

    def strings(self, name: str) -> list[str]:
        """A list of strings; a bare string, a JSON list in text and a comma list all count."""
        value = self.values.get(name)
        if value is None or value == "":
            return []
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = _json(name, value)
        if isinstance(value, str):
            return [part for part in value.split(",") if part]
        if isinstance(value, list):
            return [str(part) for part in value if part not in (None, "")]
        raise BadArgument(f"'{name}' must be a string or an array.")

    def mapping(self, name: str) -> dict[str, Json]:
        """A JSON object, as text or as itself."""
        value = self.values.get(name)
        if value is None or value == "":
            return {}
        if isinstance(value, str):
            value = _json(name, value)
        if not isinstance(value, dict):
            raise BadArgument(f"'{name}' must be a JSON object.")
        return value


def read_args(method: str, query: str, content_type: str, body: bytes) -> Args:
    """The arguments of a request; the body wins over the query string."""
    values: dict[str, Json] = {}
    _add_pairs(values, query)
    if not body:
        return Args(values)
    if method == "GET":
        raise BadArgument(BODY_IN_GET)
    if "json" in content_type or (body.lstrip()[:1] == b"{" and "urlencoded" not in content_type):
        try:
            decoded = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise BadArgument("Body could not be parsed as JSON.") from None
        if not isinstance(decoded, dict):
            raise BadArgument("Body must be a JSON object.")
        values.update(decoded)
        return Args(values)
    try:
        _add_pairs(values, body.decode())
    except UnicodeDecodeError:
        raise BadArgument("Body could not be parsed.") from None
    return Args(values)


def _add_pairs(values: dict[str, Json], encoded: str) -> None:
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        name = name.removesuffix("[]")
        if name in values:
            known = values[name]
            values[name] = [*known, value] if isinstance(known, list) else [known, value]
        else:
            values[name] = value


def _json(name: str, text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise BadArgument(f"'{name}' is not valid JSON.") from None


def symbols_of(symbol: str, instruments: Sequence[Row]) -> tuple[str, ...] | None:
    """The instruments that a symbol, series, timeframe or group means; none if unknown.

    A bare series means its nearest contract, which is the perpetual one where there is no
    expiry; timeframes that nothing is listed for mean no instrument at all.
    """
    wanted = symbol.upper()
    for row in instruments:
        if str(row["symbol"]).upper() == wanted:
            return (str(row["symbol"]),)
    indices = tuple(str(row["symbol"]) for row in instruments if _is_index(row))
    contracts = tuple(str(row["symbol"]) for row in instruments if not _is_index(row))
    groups = {
        "*": contracts + indices,
        "ALL": contracts + indices,
        "CONTRACTS": contracts,
        "DERIVATIVES": contracts,
        "INDICES": indices,
        "SPOT": (),
    }
    if wanted in groups:
        return groups[wanted]
    series, _, timeframe = wanted.partition(":")
    listed = [row for row in instruments if str(row.get("rootSymbol", "")).upper() == series]
    listed = [row for row in listed if not _is_index(row)]
    if not listed:
        return None
    if timeframe in ("", "NEAREST", "PERPETUAL"):
        return tuple(str(row["symbol"]) for row in listed if row.get("expiry") is None)
    if timeframe in ("DAILY", "WEEKLY", "MONTHLY", "QUARTERLY", "BIQUARTERLY"):
        return ()
    return None


def _is_index(row: Row) -> bool:
    return str(row.get("typ", "")).startswith("MR")


def run_query(
    rows: Sequence[Row],
    args: Args,
    *,
    keys: Sequence[str] = (),
    count_max: int = 500,
    count_default: int = 100,
    symbols: Sequence[str] | None = None,
    time_column: str = "timestamp",
    reverse_default: bool = False,
) -> list[Row]:
    """The rows that a table route answers with. `rows` come oldest first."""
    tests = _tests(args, time_column)
    if symbols is not None:
        chosen = list(symbols)
        tests.append(lambda row: row.get("symbol") in chosen)
    kept = [row for row in rows if all(test(row) for test in tests)]
    if args.flag("reverse", reverse_default):
        kept.reverse()
    start = args.integer("start") or 0
    count = args.integer("count")
    if count is None:
        count = count_default
    if start < 0 or count < 0:
        raise BadArgument("'count' and 'start' must not be negative.")
    if count > count_max:
        raise BadArgument(f"Maximum result count is {count_max}.")
    return trim(kept[start : start + count], args, keys)


def trim(rows: Sequence[Row], args: Args, keys: Sequence[str]) -> list[Row]:
    """Only the columns that were asked for, and the key columns."""
    columns = args.strings("columns")
    if not columns:
        return list(rows)
    wanted = [*keys, *(column for column in columns if column not in keys)]
    return [{name: row[name] for name in wanted if name in row} for row in rows]


def _tests(args: Args, time_column: str) -> list[Callable[[Row], bool]]:
    conditions = args.mapping("filter")
    tests: list[Callable[[Row], bool]] = []
    for bound in ("startTime", "endTime"):
        text = args.text(bound)
        if text is None and bound in conditions:
            text = str(conditions[bound])
        if text is not None:
            tests.append(_time_test(bound, text, time_column))
    for column, wanted in conditions.items():
        if column not in ("startTime", "endTime", "count", "reverse"):
            tests.append(_column_test(column, wanted))
    return tests


def _time_test(bound: str, text: str, column: str) -> Callable[[Row], bool]:
    try:
        limit_ns = parse_iso(text)
    except ValueError:
        raise BadArgument(f"'{bound}' must be a date.") from None
    if bound == "startTime":
        return lambda row: _row_ns(row, column) >= limit_ns
    return lambda row: _row_ns(row, column) <= limit_ns


def _row_ns(row: Row, column: str) -> int:
    value = row.get(column)
    return parse_iso(value) if isinstance(value, str) else 0


def _column_test(column: str, wanted: Json) -> Callable[[Row], bool]:
    if column == "open":
        if wanted not in (True, "true"):
            # The real venue cannot be asked for closed orders this way either.
            raise BadArgument("Invalid filter: 'open' must be true.")
        return lambda row: row.get("ordStatus") in OPEN_STATUSES
    if column == "ordStatus.isTerminated":
        done = wanted in (True, "true")
        return lambda row: (row.get("ordStatus") not in OPEN_STATUSES) == done
    name, _, part = column.partition(".")
    if part and part in _TIME_PARTS:
        return lambda row: _in(_time_part(row.get(name), part), wanted)
    return lambda row: _in(row.get(column), wanted)


def _in(value: Json, wanted: Json) -> bool:
    if isinstance(wanted, list):
        return any(_equal(value, one) for one in wanted)
    return _equal(value, wanted)


def _equal(value: Json, wanted: Json) -> bool:
    if wanted is None or wanted == "":
        return value is None or value == ""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, str):
        return str(value) == wanted
    return bool(value == wanted)


_TIME_PARTS: dict[str, Callable[[datetime], Json]] = {
    "date": lambda moment: f"{moment:%Y-%m-%d}",
    "month": lambda moment: f"{moment:%Y-%m}",
    "time": lambda moment: f"{moment:%H:%M}",
    "minute": lambda moment: f"{moment:%H:%M}",
    "second": lambda moment: f"{moment:%H:%M:%S}",
    "year": lambda moment: moment.year,
    "mm": lambda moment: moment.month,
    "dd": lambda moment: moment.day,
    "hh": lambda moment: moment.hour,
    "uu": lambda moment: moment.minute,
    "ss": lambda moment: moment.second,
    "week": lambda moment: moment.isocalendar().week,
    "ww": lambda moment: moment.isocalendar().week,
}


def _time_part(value: Json, part: str) -> Json:
    if not isinstance(value, str):
        return None
    moment = datetime.fromtimestamp(parse_iso(value) // SECOND_NS, UTC)
    return _TIME_PARTS[part](moment)
