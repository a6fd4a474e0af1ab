// The operator page: what is live and what is not, and the kill switch.
// Nothing is shown as live that is older than two seconds.

import * as chart from "/chart.js";
import * as parts from "/parts.js";
import { EVENTS, FAULTS, MODES } from "/words.js";

const STALE_MS = 2000;
const TICK_MS = 500;
const AGAIN_MS = 2000;
const TIMELINE_MAX = 80;
const CONFIRM_MS = 5000;
const ANSWER_WITHIN_MS = 90_000;

let shown = null; // the last picture
let heardMs = 0; // when it came, on a clock that nobody sets
let active = new Map(); // faults of the last picture: key to words
let seenLines = [];

// --- the picture

function hear(event) {
  shown = JSON.parse(event.data);
  heardMs = performance.now();
  noteFaults(shown);
  const live = trouble() === "";
  chart.add(shown, Date.now(), live && parts.marketIsLive(shown), live && shown.known);
  draw();
}

// How old the picture is: since it came, and what the trader's last beat was old by then.
function ageMs() {
  return performance.now() - heardMs;
}

function beatMs() {
  const age = shown.trader.beat_age_s;
  return age === null ? null : age * 1000 + ageMs();
}

function trouble() {
  if (ageMs() > STALE_MS) {
    return `No news from the guardian for ${parts.span(ageMs() / 1000)}. ` +
      "What is below is that old and may be wrong by now.";
  }
  if (shown.mode !== "stopped" && beatMs() !== null && beatMs() > STALE_MS) {
    return `The trader is silent for ${parts.span(beatMs() / 1000)}; the guardian watches it. ` +
      "What is below is that old.";
  }
  return "";
}

function draw() {
  if (shown === null) {
    const waited = performance.now();
    if (waited > STALE_MS) {
      parts.text("why", `Nothing was heard from the guardian for ${parts.span(waited / 1000)}.`);
    }
    return;
  }
  const old = trouble();
  const [headline, tone, why, opens] = parts.verdict(shown);
  document.body.className = old ? "stale" : `tone-${tone}`;
  const banner = document.getElementById("old");
  banner.hidden = !old;
  parts.text("old", old);
  parts.text("headline", old ? `Not known (was: ${headline})` : headline);
  parts.text("why", old ? `It last said: ${why}` : why);
  parts.text("opens", old ? "" : opens);
  const bits = [shown.symbol, shown.venue, `policy ${shown.policy}`];
  parts.text("who", bits.filter(Boolean).join(" · "));
  document.title = `${old ? "? " : ""}${headline} – chappie`;
  parts.gates(shown);
  parts.position(shown);
  parts.orders(shown);
  parts.book(shown);
  parts.streams(shown, ageMs() / 1000);
  parts.safety(shown);
  const bid = shown.book.bids[0], ask = shown.book.asks[0];
  const dim = (id, dead) => document.getElementById(id).classList.toggle("dead", dead);
  const live = parts.marketIsLive(shown), down = shown.mode === "stopped";
  parts.text("price", bid && ask ? `${bid[0]} / ${ask[0]}${live ? "" : ", not live"}` : "");
  parts.text("book-note", live ? "" : "not live");
  parts.text("position-note", shown.known ? "" : "not verified");
  dim("book-box", !live);
  dim("chart-box", !live);
  dim("position-box", !shown.known);
  dim("orders-box", down && !shown.known);
  dim("streams-box", down);
  dim("budget-box", down);
  chart.draw(document.getElementById("chart"), Date.now());
}

// --- the timeline

function happened(at, tone, words) {
  const list = document.getElementById("timeline");
  const row = parts.node("li", undefined, tone);
  row.append(parts.node("time", parts.time(at)), parts.node("span", words));
  row.dataset.at = at;
  // The newest first; what is told late goes where it belongs.
  const later = [...list.children].find((one) => one.dataset.at <= at);
  list.insertBefore(row, later || null);
  while (list.children.length > TIMELINE_MAX) list.lastChild.remove();
}

function noteFaults(state) {
  // What a trader that is down said last neither begins nor ends.
  if (state.mode === "stopped") return;
  const now = new Map(state.faults.map((one) => [`${one.fault} ${one.subject}`, one]));
  const at = state.at || new Date().toISOString();
  for (const [key, one] of now) {
    if (!active.has(key)) {
      const detail = one.detail ? `: ${one.detail}` : "";
      happened(at, "bad", `${parts.faultWords(one)}${detail}`);
    }
  }
  for (const [key, one] of active) {
    if (!now.has(key)) happened(at, "good", `over: ${parts.faultWords(one)}`);
  }
  active = now;
}

function noteLine(line) {
  const known = EVENTS[line.event];
  const key = JSON.stringify(line);
  // The past comes again after a reconnect.
  if (!known || seenLines.includes(key)) return;
  seenLines = [...seenLines.slice(1 - TIMELINE_MAX * 2), key];
  const tone = line.event === "mode" && MODES[line.mode] ? MODES[line.mode][1] : known[0];
  const faults = line.event === "mode" && line.faults
    ? ` (${line.faults.map((one) => FAULTS[one] || one).join(", ")})` : "";
  happened(line.at, tone, known[1](line) + faults);
}

// --- the connection

function listen() {
  const source = new EventSource("/api/events");
  source.addEventListener("state", hear);
  source.addEventListener("past", (event) => JSON.parse(event.data).forEach(noteLine));
  source.addEventListener("log", (event) => noteLine(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // A refusal ends it for good, where a lost connection does not.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

// --- the kill switch

const armed = new Map(); // button: until when a second press acts

function answer(words, tone) {
  const box = document.getElementById("answer");
  box.className = tone;
  box.textContent = words;
}

async function ask(path, body, doing) {
  const token = document.getElementById("token").value.trim();
  if (!token) {
    answer("The token is missing: it stands in operator.token in the state folder.", "bad");
    return;
  }
  answer(`${doing} …`, "wait");
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const told = await response.json();
    const [words, tone] = inWords(response.status, told);
    answer(words, tone);
  } catch (error) {
    answer(`No answer (${error.message}). It may have been carried out all the same: look at the ` +
      "state above, or ask again.", "bad");
  }
}

function inWords(status, told) {
  if (told.error) return [`Refused (${status}): ${told.error}.`, "bad"];
  if (told.words !== undefined) return [told.words, told.done ? "good" : "bad"];
  if (told.missing && told.missing.length) {
    const stands = told.latched ? "The halt stands, but: " : "Not halted: ";
    return [stands + told.missing.join("; "), "bad"];
  }
  const flat = told.flattened ? " The position is closed." : "";
  return [`Halted: ${told.orders} orders of ours work, position ${told.position}.${flat}`, "good"];
}

function reason() {
  return document.getElementById("reason").value.trim();
}

// What adds no risk acts at once; what does is pressed twice.
function twice(button, act) {
  const label = button.textContent;
  button.addEventListener("click", () => {
    if ((armed.get(button) || 0) > performance.now()) {
      armed.delete(button);
      button.textContent = label;
      act();
      return;
    }
    armed.set(button, performance.now() + CONFIRM_MS);
    button.textContent = "Press again";
    setTimeout(() => { button.textContent = label; armed.delete(button); }, CONFIRM_MS);
  });
}

document.getElementById("halt").addEventListener("click",
  () => ask("/api/halt", { flatten: false, reason: reason() }, "halting"));
twice(document.getElementById("flatten"),
  () => ask("/api/halt", { flatten: true, reason: reason() }, "halting and closing the position"));
twice(document.getElementById("resume"), () => {
  if (reason()) ask("/api/resume", { reason: reason() }, "resuming");
  else answer("A resume needs a reason.", "bad");
});

listen();
setInterval(draw, TICK_MS);
window.addEventListener("resize", draw);
