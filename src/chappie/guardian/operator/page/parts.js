// The parts of the page, each drawn from the picture. Text goes in as text, never as markup:
// what the venue or a policy wrote cannot become part of the page.

import { FAULTS, GATES, MODES, STOPS } from "/words.js";

const UNKNOWN = "–";
const LEVELS = 5;
const MINOR = { XBt: ["XBT", 8], USDt: ["USDT", 6] };
const LISTED = 12;
const MARKS = { open: ["✓", "yes"], shut: ["✕", "no"], unknown: ["?", "not known"] };
const OF_MARKET = ["stream_down", "market_stale", "feed_lags"];

export function node(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function put(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

export function text(id, words) {
  const found = document.getElementById(id);
  if (found.textContent !== words) found.textContent = words;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (Math.abs(seconds) < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const number = (value) => (value === null || value === undefined ? UNKNOWN : value.toLocaleString("en"));
const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));

export function faultWords(fault) {
  const words = FAULTS[fault.fault] || fault.fault;
  return fault.subject ? `${words} (${fault.subject})` : words;
}

function stopWords(stop) {
  return `${STOPS[stop.reason] || stop.reason}${stop.detail ? `: ${stop.detail}` : ""}`;
}

function haltWords(halt) {
  return `A halt is latched: ${halt.reason}`;
}

// Whether the prices of the picture are of now.
export function marketIsLive(state) {
  return state.at !== null && state.mode !== "stopped" &&
    ["quote", "orderBook"].every((name) => state.streams[name] && state.streams[name].synced) &&
    !state.faults.some((fault) => OF_MARKET.includes(fault.fault));
}

// What stands at the top: [headline, tone, why, what would open it].
export function verdict(state) {
  const [headline, tone, meaning] = MODES[state.mode] || [state.mode, "bad", ""];
  const stop = state.trader.last_stop;
  const faults = state.faults;
  switch (state.mode) {
    case "stopped": {
      if (state.halt) {
        return ["Stopped and halted", tone, haltWords(state.halt), "A resume starts it again."];
      }
      const next = state.trader.next_start_s;
      return [headline, tone, stop ? capital(stopWords(stop)) : meaning,
        next === null || next === undefined
          ? "It stays down until a person mends the cause and resumes."
          : `It starts again by itself in ${span(next)}.`];
    }
    case "halted":
      return [headline, tone, state.halt ? haltWords(state.halt) : firstFault(faults, meaning),
        "A resume starts it again."];
    case "observing":
      return [headline, tone, meaning, "bot.allow_trade = true and a new start let it trade."];
    case "trading":
      return [headline, tone, meaning, ""];
    default:
      return [headline, tone, firstFault(faults, meaning), opens(faults)];
  }
}

function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function firstFault(faults, otherwise) {
  if (faults.length === 0) return otherwise;
  const kinds = [...new Set(faults.map((fault) => FAULTS[fault.fault] || fault.fault))];
  const more = kinds.length > 2 ? `, and ${kinds.length - 2} more` : "";
  return `${capital(kinds.slice(0, 2).join("; "))}${more}.`;
}

function opens(faults) {
  return faults.length === 0 ? "" : `Opens by: ${faults[0].clears}.`;
}

export function gates(state) {
  const rows = [];
  const add = (words, standing, detail) => {
    const row = node("li", undefined, standing);
    const mark = node("span", MARKS[standing][0], "mark");
    mark.setAttribute("aria-label", MARKS[standing][1]);
    row.append(mark, node("span", words, "gate"));
    for (const line of detail) {
      const part = node("div", undefined, "detail");
      part.append(node("strong", line.what), node("span", line.since));
      part.append(node("span", line.clears, "clears"));
      if (line.detail) part.append(node("code", line.detail));
      row.append(part);
    }
    rows.push(row);
  };
  const down = state.mode === "stopped";
  const stop = state.trader.last_stop;
  add("a trader runs", down ? "shut" : "open", down ? [{
    what: stop ? stopWords(stop) : "none was started yet", since: stop ? ` at ${time(stop.at)}` : "",
    clears: verdict(state)[3] }] : []);
  // Of one that is down, or has not beaten yet, nobody knows what holds.
  const silent = down || state.at === null;
  const known = new Set();
  for (const [words, kinds] of GATES) {
    kinds.forEach((kind) => known.add(kind));
    const found = silent ? [] : state.faults.filter((one) => kinds.includes(one.fault));
    const detail = found.map(faultLine);
    if (kinds.includes("halt_latched") && state.halt && found.length === 0) {
      detail.push({ what: state.halt.reason, since: ` since ${time(state.halt.since)}`,
        clears: "opens by: resume" });
    }
    add(words, detail.length ? "shut" : silent ? "unknown" : "open", detail);
  }
  const others = silent ? [] : state.faults.filter((one) => !known.has(one.fault));
  if (others.length) add("nothing else is wrong", "shut", others.map(faultLine));
  add("bot.allow_trade is on", state.allow_trade ? "open" : "shut", state.allow_trade ? [] : [{
    what: "observe-only", since: "", clears: "opens by: bot.allow_trade = true and a new start" }]);
  put("gates", ...rows);
}

function faultLine(fault) {
  return { what: faultWords(fault), since: ` for ${span(fault.since_s)}`,
    clears: `opens by: ${fault.clears}`, detail: fault.detail };
}

function terms(id, rows) {
  put(id, ...rows.flatMap(([name, value, className]) =>
    [node("dt", name), node("dd", value, className)]));
}

function table(id, head, rows) {
  const top = node("tr");
  head.forEach((name) => top.append(node("th", name)));
  const body = rows.map(([cells, className]) => {
    const row = node("tr", undefined, className);
    cells.forEach((cell) => row.append(cell instanceof Node ? cell : node("td", cell)));
    return row;
  });
  put(id, ...(head.length ? [top] : []), ...body);
}

export function position(state) {
  const { qty, avgEntryPx } = state.position;
  const side = qty === null ? "" : qty > 0 ? "long " : qty < 0 ? "short " : "flat ";
  const money = (value) => {
    if (value === null || value === undefined) return UNKNOWN;
    const [name, digits] = MINOR[state.account.currency] || [state.account.currency || "", 0];
    return `${(value / 10 ** digits).toFixed(digits)} ${name}`;
  };
  const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
  const { account, decision } = state;
  terms("position", [
    ["Position", qty === null ? "not known" : `${side}${number(Math.abs(qty))}`],
    ["Entry price", number(avgEntryPx)],
    ["Unrealised", money(account.unrealised), tone(account.unrealised)],
    ["Realised", money(account.realised), tone(account.realised)],
    ["Fees", money(account.fees)],
    ["Wallet", money(account.wallet)],
    ["Fills", number(account.fills)],
    ["Last decision", decision === null ? "none yet"
      : `target ${decision.target === null ? UNKNOWN : signed(decision.target)}`],
    ["What came of it", (decision && (decision.order || decision.note)) || UNKNOWN],
  ]);
}

export function orders(state) {
  text("orders-count", state.mode === "stopped" && !state.known
    ? "as last known, not verified" : `${state.orders.length} live`);
  const rows = state.orders.slice(0, LISTED).map((one) => [
    [one.side, number(one.leavesQty), number(one.price), one.ordStatus, one.clOrdID],
    one.side === "Buy" ? "buy" : "sell"]);
  if (state.orders.length > LISTED) {
    rows.push([[`and ${state.orders.length - LISTED} more`], ""]);
  }
  table("orders", rows.length ? ["side", "open", "price", "status", "clOrdID"] : [],
    rows.length ? rows : [[["none of ours works"], "none"]]);
}

export function book(state) {
  const asks = state.book.asks.slice(0, LEVELS).reverse();
  const bids = state.book.bids.slice(0, LEVELS);
  const most = Math.max(1, ...[...asks, ...bids].map((level) => level[1]));
  const row = (kind) => ([price, size]) => {
    const bar = node("td", undefined, "bar");
    const fill = node("div", undefined, kind);
    fill.style.width = `${Math.max(1, Math.round((100 * size) / most))}%`;
    bar.append(fill);
    return [[price.toFixed(1), number(size), bar], kind];
  };
  const rows = [...asks.map(row("sell")), ...bids.map(row("buy"))];
  table("book", rows.length ? ["price", "size", ""] : [],
    rows.length ? rows : [[["no book yet"], "none"]]);
}

export function streams(state, olderS) {
  table("streams", ["stream", "synced", "last word"],
    Object.entries(state.streams).map(([name, stream]) => [
      [name, stream.synced ? "yes" : "no",
        stream.age_s === null ? UNKNOWN : `${span(stream.age_s + olderS)} ago`],
      stream.synced ? "" : "unsynced"]));
}

export function safety(state) {
  const { limit, remaining, locked } = state.rate_limit;
  const meter = document.getElementById("meter");
  meter.style.width = limit ? `${Math.max(0, Math.min(100, (100 * remaining) / limit))}%` : "0";
  meter.className = locked ? "low" : "";
  const armed = state.dead_man.armed_until;
  const counts = Object.entries(state.ended_orders).filter(([, count]) => count > 0);
  terms("safety", [
    ["Requests left", remaining === null ? UNKNOWN
      : `${remaining} of ${limit}${locked ? ", locked" : ""}`, locked ? "down" : ""],
    ["Dead man's switch", armed === null ? "not armed"
      : `armed until ${time(armed)}${state.dead_man.missed_since ? ", renewal missed" : ""}`],
    ["Last reconciliation", state.last_reconcile.at === null ? "none yet"
      : `${time(state.last_reconcile.at)}, ${state.last_reconcile.clean ? "clean" : "not clean"}`],
    ["Quotes were old by", span(state.lag.quote_s)],
    ["Clock, venue minus ours", state.lag.clock_offset_s === null ? UNKNOWN
      : `${signed(state.lag.clock_offset_s)} s`],
    ["Restarts", number(state.trader.restarts)],
    ["Orders ended", counts.length
      ? counts.map(([fate, count]) => `${count} ${fate.replace("_", " ")}`).join(", ") : "none"],
    ["Would-be orders", number(state.would_be_orders)],
    ["Foreign orders", number(state.foreign_orders.length),
      state.foreign_orders.length ? "down" : ""],
  ]);
}

export function time(iso) {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return iso;
  const clock = moment.toLocaleTimeString([], { hour12: false });
  const today = moment.toDateString() === new Date().toDateString();
  return today ? clock : `${moment.toLocaleDateString()} ${clock}`;
}
