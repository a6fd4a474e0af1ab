"""The picture of a running bot for people: drawn live by `chappie up`, once by `chappie status`."""

import math
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chappie.guardian.shown import Shown, faults_in_words, why_stopped
from chappie.live.log import printable
from chappie.model.state import Mode

LEVELS = 5
_WIDE = 110
_BAR = 10
_FIXED_ROWS = 20
"""Every row but those of orders and faults, which share what is left of the height."""
_FOOTER_FROM_ROWS = 28
_NAME = 11
_SHORTEST_LIST = 1
_MODE_STYLE = {
    Mode.STOPPED: "bold white on red",
    Mode.HALTED: "bold white on red",
    Mode.FAULTED: "bold black on yellow",
    Mode.STARTING: "bold black on cyan",
    Mode.LOCKED: "bold black on yellow",
    Mode.REDUCING: "bold black on yellow",
    Mode.OBSERVING: "bold black on green",
    Mode.TRADING: "bold white on blue",
}
_DIM = "dim"
_UNKNOWN = "–"


def picture(shown: Shown, width: int, height: int, tail: str = "", footer: str = "") -> Group:
    """The whole picture in at most ``height`` rows; ``tail`` is the newest log line."""
    with_footer = bool(footer) and height >= _FOOTER_FROM_ROWS
    spare = max(2 * _SHORTEST_LIST, height - _FIXED_ROWS - with_footer)
    faults = _faults(shown, max(_SHORTEST_LIST, spare // 2))
    orders = _orders(shown, max(_SHORTEST_LIST, spare - len(faults)))
    rows: list[RenderableType] = [
        _banner(shown, width),
        _why(shown),
        _middle(shown, width),
        _decision(shown),
        _would_be(shown),
        _position(shown),
        _money(shown),
        *orders,
        *faults,
        _process(shown),
        _last_stop(shown),
        _row("log", tail_line(tail) or _UNKNOWN, _DIM),
    ]
    if with_footer:
        rows.append(_line(footer, _DIM))
    return Group(*rows)


def tail_line(line: str) -> str:
    """A JSON log line as one line for people; anything else as it is, made printable."""
    try:
        record = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.MsgspecError:
        return printable(line)
    clock = str(record.pop("at", ""))[11:19]
    level = record.pop("level", "info")
    event = str(record.pop("event", ""))
    record.pop("by", None)
    mark = {"warning": "! ", "error": "!! "}.get(str(level), "")
    pairs = "  ".join(f"{key}={value}" for key, value in record.items() if value is not None)
    return printable(f"{clock} {mark}{event.replace('_', ' ')}  {pairs}".rstrip())


def number(value: float | None, places: int | None = None) -> str:
    """A number as people read it; unknown is a dash, never a zero."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    if places is not None:
        return f"{value:,.{places}f}"
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text or "0"


def money(value: int | None, currency: str | None) -> str:
    """Minor units as whole ones where the currency is known to have eight places."""
    if value is None:
        return _UNKNOWN
    if currency == "XBt":
        return f"{value / 1e8:,.8f} XBT"
    return f"{value:,} {currency or ''}".rstrip()


def signed(qty: int | None) -> str:
    return _UNKNOWN if qty is None else f"{qty:+,}" if qty else "0"


def ago(seconds: float | None) -> str:
    """An age in the largest unit that still says something."""
    if seconds is None:
        return _UNKNOWN
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.0f} h"


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _row(name: str, text: str, style: str = "") -> Text:
    line = Text(f"{name:<{_NAME}}", style=_DIM, no_wrap=True, overflow="ellipsis")
    return line.append(printable(text), style=style)


def _banner(shown: Shown, width: int) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    authority = "may trade" if shown.allow_trade else "observe-only"
    clock = (shown.at or "")[11:19]
    grid.add_row(
        Text(f" {shown.mode.value.upper()} ", style=_MODE_STYLE[shown.mode]),
        _line(f"{shown.symbol} on {shown.venue} · policy {shown.policy} · {authority}"),
        _line(f"{clock} UTC" if clock else "", _DIM),
    )
    return grid


def _why(shown: Shown) -> Text:
    """The mode's cause in words."""
    match shown.mode:
        case Mode.STOPPED:
            wait_s, reason = shown.trader.next_start_s, why_stopped(shown)
            text = "the trader is down" + (f": {reason}" if reason else "")
            text += f"; it starts again in {wait_s:.0f} s" if wait_s is not None else ""
        case Mode.STARTING if not shown.faults:
            text = "the trader starts: streams, account and orders are not known yet"
        case Mode.OBSERVING:
            text = "decides and shows what it would do, sends no order (allow_trade off)"
        case Mode.TRADING:
            text = "decides and trades"
        case _:
            kinds = faults_in_words(shown)
            text = "because of " + "; ".join(kinds) if kinds else shown.mode.value
    return _row("why", text)


def _middle(shown: Shown, width: int) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    parts: list[RenderableType] = [_ladder(shown), _streams(shown)]
    if width >= _WIDE:
        grid.add_column(ratio=1)
        parts.append(_budget(shown))
        grid.add_row(*parts)
        return grid
    grid.add_row(_ladder(shown), Group(_streams(shown), *_budget_rows(shown)))
    return grid


def _ladder(shown: Shown) -> RenderableType:
    """Asks above bids, the best in the middle, sizes as bars."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(justify="right", no_wrap=True, width=12)
    table.add_column(justify="right", no_wrap=True, width=12)
    table.add_column(no_wrap=True, ratio=1)
    asks, bids = shown.book.asks[:LEVELS], shown.book.bids[:LEVELS]
    biggest = max((size for _, size in (*asks, *bids)), default=0)
    table.add_row(Text("price", style=_DIM), Text("contracts", style=_DIM), "")
    blank = ("", Text(_UNKNOWN, style=_DIM), "")
    for _ in range(LEVELS - len(asks)):
        table.add_row(*blank)
    for price, size in reversed(asks):
        table.add_row(*_level(price, size, biggest, "red"))
    for price, size in bids:
        table.add_row(*_level(price, size, biggest, "green"))
    for _ in range(LEVELS - len(bids)):
        table.add_row(*blank)
    return table


def _level(price: float, size: int, biggest: int, style: str) -> tuple[Text, Text, Text]:
    bar = "█" * max(1, round(_BAR * size / biggest)) if biggest else ""
    places = 1 if price == round(price, 1) else None
    return (Text(number(price, places), style=style), Text(f"{size:,}"), Text(bar, style=style))


def _streams(shown: Shown) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True, width=11)
    table.add_column(no_wrap=True, width=10)
    table.add_column(no_wrap=True, justify="right", width=9)
    table.add_column(ratio=1)
    head = [Text(word, style=_DIM) for word in ("stream", "synced", "age")]
    table.add_row(*head, "")
    for name, stream in shown.streams.items():
        word, style = ("yes", "green") if stream.synced else ("no", "yellow")
        table.add_row(printable(name), Text(word, style=style), ago(stream.age_s), "")
    return table


def _budget_pairs(shown: Shown) -> list[tuple[str, str]]:
    budget, reconcile = shown.rate_limit, shown.last_reconcile
    left = f"{number(budget.remaining)} of {number(budget.limit)}"
    clean = {None: _UNKNOWN, True: "clean", False: "not clean"}[reconcile.clean]
    when = f" at {reconcile.at[11:19]}" if reconcile.at else ""
    armed = shown.dead_man.armed_until
    switch = f"until {armed[11:19]}" if armed else "not armed"
    return [
        ("requests", f"{left} left" + (", locked" if budget.locked else "")),
        ("reconciled", clean + when),
        ("dead man", switch if shown.at is not None else _UNKNOWN),
    ]


def _budget_rows(shown: Shown) -> list[Text]:
    """The two that fit under the streams of a narrow screen."""
    return [_row(name, text) for name, text in _budget_pairs(shown)[:2]]


def _budget(shown: Shown) -> RenderableType:
    lines: list[RenderableType] = [_line("budget", _DIM)]
    lines += [_row(name, text) for name, text in _budget_pairs(shown)]
    lines += [
        _row("wallet", money(shown.account.wallet, shown.account.currency)),
        _row("available", money(shown.account.available, shown.account.currency)),
        _row("fees", money(shown.account.fees, shown.account.currency)),
        _row("fills", number(shown.account.fills)),
        _row("would-be", f"{shown.would_be_orders:,} so far"),
    ]
    return Group(*lines)


def _decision(shown: Shown) -> Text:
    decision = shown.decision
    if decision is None:
        return _row("decision", "none yet", _DIM)
    note = f" · {decision.note}" if decision.note else ""
    target = "no target" if decision.target is None else f"target {signed(decision.target)}"
    return _row("decision", f"#{decision.number} {target}{note} · {decision.at[11:19]}", "bold")


def _would_be(shown: Shown) -> Text:
    """What the executor made of the decision; in observe-only what it would have made."""
    order = shown.decision.order if shown.decision is not None else None
    if shown.allow_trade:
        return _row("order", order or "none", "" if order else _DIM)
    count = f"{shown.would_be_orders:,} so far"
    return _row("would-be", f"{order} · {count}" if order else count, "" if order else _DIM)


def _position(shown: Shown) -> Text:
    position = shown.position
    entry = f" @ {number(position.avg_entry_px)}" if position.avg_entry_px is not None else ""
    known = "" if shown.known else " · not verified"
    word = shown.position_state or _UNKNOWN
    return _row("position", f"{signed(position.qty)}{entry} · {word}{known}")


def _money(shown: Shown) -> Text:
    account = shown.account
    pairs = (
        ("", account.wallet),
        ("available ", account.available),
        ("unrealised ", account.unrealised),
    )
    text = " · ".join(name + money(value, account.currency) for name, value in pairs)
    return _row("wallet", text)


def _orders(shown: Shown, most: int) -> list[Text]:
    """Working orders, at most so many rows, the first of them the heading's own."""
    if not shown.orders:
        # No list is not an empty list.
        return [_row("orders", "none working" if shown.known else "not known", _DIM)]
    texts = [
        f"{order.side} {order.leaves_qty:,} of {order.order_qty:,} @ {number(order.price)} "
        f"{order.ord_status} {order.cl_ord_id}"
        for order in shown.orders
    ]
    return _listed("orders", texts, most, "")


def _faults(shown: Shown, most: int) -> list[Text]:
    if shown.mode is Mode.STOPPED:
        # What the trader said last is not so any more; why it stopped stands above.
        return [_row("faults", _UNKNOWN, _DIM)]
    if not shown.faults:
        heard = shown.at is not None
        return [_row("faults", "none" if heard else _UNKNOWN, "green" if heard else _DIM)]
    texts = [
        f"{fault.fault}{f' {fault.subject}' if fault.subject else ''} for {ago(fault.since_s)}"
        f" · clears: {fault.clears}{f' · {fault.detail}' if fault.detail else ''}"
        for fault in shown.faults
    ]
    return _listed("faults", texts, most, "yellow")


def _listed(name: str, texts: Sequence[str], most: int, style: str) -> list[Text]:
    """Rows under one name; what does not fit is counted, not dropped silently."""
    if len(texts) > most:
        last = f"(+{len(texts) - most} more) {texts[most - 1]}"
        texts = [*texts[: most - 1], last]
    return [_row(name if at == 0 else "", text, style) for at, text in enumerate(texts)]


def _process(shown: Shown) -> Text:
    trader = shown.trader
    pid = f"pid {trader.pid}" if trader.pid is not None else "not running"
    beat = f" · beat {ago(trader.beat_age_s)} ago" if trader.beat_age_s is not None else ""
    return _row("trader", f"{pid} · restarts {trader.restarts}{beat} · config {shown.config_hash}")


def _last_stop(shown: Shown) -> Text:
    stop = shown.trader.last_stop
    if stop is None:
        return _row("last stop", "none", _DIM)
    when = stop.at[5:16].replace("T", " ")
    return _row("last stop", f"{stop.reason} ({stop.code}) {when} {stop.detail}")


def newest(lines: Iterable[str], before: str = "") -> str:
    """The last line that says something."""
    for line in lines:
        before = line if line.strip() else before
    return before
