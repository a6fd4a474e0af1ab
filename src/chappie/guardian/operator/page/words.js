// The words of the page: modes, faults, stops and gates as a person reads them.
// Every name of the code stands here; a test compares them.

// [headline, tone, what it means]
export const MODES = {
  stopped: ["Stopped", "bad", "No trader runs."],
  halted: ["Halted", "bad", "A halt is latched: nothing trades until a resume."],
  faulted: ["Not trading", "bad", "Something is wrong."],
  starting: ["Not trading yet", "wait", "It is starting and learns what is true first."],
  locked: ["Not trading", "wait", "The venue's request budget is low."],
  reducing: ["Only reducing", "wait", "Only orders that make the position smaller are allowed."],
  observing: ["Not trading: observing", "calm",
    "All is well. bot.allow_trade is off, so it decides and sends nothing."],
  trading: ["Trading", "good", "All is well and orders may be sent."],
};

export const FAULTS = {
  venue_refused: "the venue refuses our key or address",
  operator_stop: "it was asked to stop",
  halt_latched: "a halt is latched",
  not_alone: "another instance trades on this account",
  policy_failed: "the policy failed",
  stream_down: "the connection to the venue is down",
  stream_unsynced: "a stream is not complete",
  market_stale: "the market went silent",
  feed_lags: "the market data comes late",
  feed_flaps: "the connection comes and goes too often",
  wire_refused: "the venue sent what cannot be understood",
  instrument_unknown: "the instrument is not known yet",
  instrument_not_open: "the venue does not trade the instrument now",
  clock_skewed: "our clock and the venue's disagree",
  budget_low: "the venue's request budget is low",
  unreconciled: "the account is not verified",
  liquidated: "the position was liquidated",
  position_disagrees: "fills and the venue disagree on the position",
  order_in_doubt: "nobody knows what became of an order",
  leftover_orders: "orders that nobody wants are still working",
  limit_halted: "a limit was reached: a person has to look",
  limit_reached: "a limit was reached: only reducing orders pass",
  market_unfit: "the market is not fit for new positions",
};

export const STOPS = {
  operator: "it was asked to stop",
  feed_stale: "no market data came any more",
  feed_unsynced: "a stream did not become complete",
  order_unresolved: "the fate of an order stayed unknown",
  position_mismatch: "the position did not agree with the venue",
  venue_refused: "the venue refused us",
  clock_skew: "the clock was wrong",
  invariant_violated: "a safety invariant was violated",
  loop_stalled: "the trader hung and was killed",
  journal_failed: "the disk took no more",
  venue_degraded: "the venue failed for too long",
  halted: "a halt is latched",
  not_alone: "another instance trades on this account",
  killed: "the trader was killed",
  guardian_lost: "the guardian was lost",
  config: "the configuration was refused",
  internal_error: "a bug ended it",
  crash_loop: "it stopped too often",
};

// [what must hold, the faults that shut it]
export const GATES = [
  ["no halt is latched", ["halt_latched", "liquidated", "limit_halted", "operator_stop"]],
  ["connected to the venue", ["venue_refused", "stream_down", "feed_flaps", "wire_refused"]],
  ["market data is complete and fresh", ["stream_unsynced", "market_stale", "feed_lags"]],
  ["the instrument is open", ["instrument_unknown", "instrument_not_open"]],
  ["the account is verified",
    ["unreconciled", "position_disagrees", "order_in_doubt", "leftover_orders", "not_alone"]],
  ["requests are left, the clock is right", ["budget_low", "clock_skewed"]],
  ["within the limits, in a fit market", ["limit_reached", "market_unfit"]],
  ["the policy answers", ["policy_failed"]],
];

// Log events of the guardian that people want to see, and how: [tone, words of the fields].
export const EVENTS = {
  mode: ["calm", (f) => `mode ${f.mode}${f.reason ? `: ${STOPS[f.reason] || f.reason}` : ""}`],
  trader_started: ["calm", (f) => `trader started, process ${f.pid}`],
  trader_stopped: ["bad", (f) => `trader stopped: ${STOPS[f.reason] || f.reason}. ${f.detail || ""}`],
  trader_stalled: ["bad", (f) => `no beat for ${f.silent_s} s: the trader is killed`],
  trader_killed: ["bad", (f) => `the trader was killed: ${f.why}`],
  trader_not_started: ["bad", (f) => `the trader could not be started: ${f.detail}`],
  restarting: ["wait", (f) => `restarting in ${f.delay_s} s`],
  staying_down: ["bad", (f) => `staying down (${f.reason}): ${f.detail}`],
  starting_again: ["calm", (f) => `starting again: ${f.why}`],
  halt_asked: ["bad", (f) => `halt asked by ${f.by}: ${f.reason}${f.flatten ? ", and flatten" : ""}`],
  halt_done: ["calm", (f) => (f.missing && f.missing.length
    ? `halted, but: ${f.missing.join("; ")}` : "halted: no order of ours works")],
  halt_not_latched: ["bad", (f) => `the halt could not be latched: ${f.detail}`],
  resumed: ["good", (f) => `resumed by ${f.by}: ${f.reason}`],
  first_decision: ["calm", (f) => `first decision: target ${f.target}`],
  leftovers: ["wait", (f) => `orders left behind: ${f.detail || "looked for"}`],
  venue_died: ["bad", () => "the embedded venue died"],
  venue_started: ["calm", () => "the embedded venue started"],
  guardian_started: ["calm", () => "the guardian started"],
  ending: ["wait", (f) => `ending: ${f.why}`],
  internal_error: ["bad", (f) => `a bug in the guardian: ${f.detail}`],
};
