// The price chart: the middle of the book since the page was opened, our orders and fills.
// Bounded: so many points, so many fills. A gap stays a gap.

const POINTS_MAX = 600;
const ORDERS_MAX = 50;
const FILLS_MAX = 100;
const EVERY_MS = 1000;
const GAP_MS = 3000;

const points = []; // [ms, middle]
const orders = new Map(); // clOrdID: {side, price, from, to}
const fills = new Map(); // key: {ms, side, price}

// What one picture of the bot adds; `live`: its prices are of now, `known`: so are its orders.
export function add(state, nowMs, live, known) {
  const bid = state.book.bids[0], ask = state.book.asks[0];
  const last = points[points.length - 1];
  if (live && bid && ask && (!last || nowMs - last[0] >= EVERY_MS)) {
    points.push([nowMs, (bid[0] + ask[0]) / 2]);
    if (points.length > POINTS_MAX) points.shift();
  }
  for (const one of known ? state.orders : []) {
    if (one.price === null) continue;
    const before = orders.get(one.clOrdID);
    const from = before && before.price === one.price ? before.from : nowMs;
    orders.set(one.clOrdID, { side: one.side, price: one.price, from, to: nowMs });
  }
  const counts = new Map();
  for (const one of state.fills) {
    if (one.price === null || one.at === null) continue;
    // Two fills of one moment and price are two: they are told apart by how often they come.
    const name = `${one.at} ${one.side} ${one.qty} ${one.price}`;
    counts.set(name, (counts.get(name) || 0) + 1);
    const key = `${name} ${counts.get(name)}`;
    if (!fills.has(key)) fills.set(key, { ms: Date.parse(one.at), side: one.side, price: one.price });
  }
  for (const [kept, most] of [[orders, ORDERS_MAX], [fills, FILLS_MAX]]) {
    for (const key of kept.keys()) {
      if (kept.size <= most) break;
      kept.delete(key);
    }
  }
}

export function draw(canvas, nowMs) {
  const box = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(box.width * scale));
  canvas.height = Math.max(1, Math.round(box.height * scale));
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name).trim();
  pen.font = "11px system-ui, sans-serif";
  if (points.length < 2) {
    pen.fillStyle = color("--dim");
    pen.fillText("collecting prices …", 8, 20);
    return;
  }
  const from = points[0][0], to = Math.max(nowMs, from + 10_000);
  const shownOrders = [...orders.values()].filter((one) => one.to >= from);
  const shownFills = [...fills.values()].filter((one) => one.ms >= from);
  const prices = [...points.map((one) => one[1]),
    ...shownOrders.map((one) => one.price), ...shownFills.map((one) => one.price)];
  let low = Math.min(...prices), high = Math.max(...prices);
  const pad = Math.max((high - low) * 0.1, high * 1e-5);
  low -= pad; high += pad;
  const left = 6, right = box.width - 70, top = 8, bottom = box.height - 20;
  const x = (ms) => left + ((Math.max(ms, from) - from) / (to - from)) * (right - left);
  const y = (price) => bottom - ((price - low) / (high - low)) * (bottom - top);

  pen.strokeStyle = color("--line"); pen.fillStyle = color("--dim"); pen.lineWidth = 1;
  for (let step = 0; step <= 3; step += 1) {
    const price = low + ((high - low) * (step + 0.5)) / 4;
    pen.beginPath(); pen.moveTo(left, y(price)); pen.lineTo(right, y(price)); pen.stroke();
    pen.fillText(price.toFixed(1), right + 6, y(price) + 4);
  }
  const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
  pen.fillText(clock(from), left, box.height - 5);
  const end = clock(to);
  pen.fillText(end, right - pen.measureText(end).width, box.height - 5);

  pen.strokeStyle = color("--price"); pen.lineWidth = 1.6;
  pen.beginPath();
  points.forEach(([ms, price], index) => {
    const gap = index === 0 || ms - points[index - 1][0] > GAP_MS;
    if (gap) pen.moveTo(x(ms), y(price)); else pen.lineTo(x(ms), y(price));
  });
  pen.stroke();

  pen.setLineDash([5, 4]); pen.lineWidth = 2;
  for (const one of shownOrders) {
    pen.strokeStyle = color(one.side === "Buy" ? "--buy" : "--sell");
    pen.beginPath(); pen.moveTo(x(one.from), y(one.price));
    pen.lineTo(Math.max(x(one.to), x(one.from) + 4), y(one.price)); pen.stroke();
  }
  pen.setLineDash([]);
  for (const one of shownFills) {
    const up = one.side === "Buy" ? 1 : -1, px = x(one.ms), py = y(one.price);
    pen.fillStyle = color(up === 1 ? "--buy" : "--sell");
    pen.strokeStyle = color("--panel"); pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(px, py - 7 * up); pen.lineTo(px - 6, py + 5 * up);
    pen.lineTo(px + 6, py + 5 * up); pen.closePath(); pen.fill(); pen.stroke();
  }
  const newest = points[points.length - 1][1];
  canvas.setAttribute("aria-label", `price ${newest}, ${shownOrders.length} orders and ` +
    `${shownFills.length} fills of ours in the picture`);
}
