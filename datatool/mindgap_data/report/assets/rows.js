// The row browser: an index of columns filters and sorts at once; texts are parsed block by block when shown.
const PAGE = 20;
const blocks = [...document.querySelectorAll("script.rows")];
const parsed = new Map();

function row(number) {
  const size = DATA.rows.block, block = Math.floor(number / size);
  if (!parsed.has(block)) parsed.set(block, JSON.parse(blocks[block].textContent));
  return parsed.get(block)[number % size];
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGIT = new Map([...LETTERS].map((letter, i) => [letter, i]));

function decode(code) {
  const values = new Array(code.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = DIGIT.get(code[2 * i]) * 64 + DIGIT.get(code[2 * i + 1]);
  return values;
}

const logprobs = (code) => decode(code).map((value) => DATA.code.low + value * DATA.code.step);

const view = { tier: "all", flagged: false, sort: "gap", search: "", page: 0, color: "probability", found: [] };
const gapOf = (i) => (DATA.index.expert[i] === null ? null : DATA.index.chosen[i] - DATA.index.expert[i]);
const SORTS = {
  gap: ["largest gap left", (i) => (gapOf(i) === null ? -Infinity : gapOf(i)), -1],
  closed: ["gap closed most", (i) => (gapOf(i) === null ? Infinity : gapOf(i)), 1],
  nll: ["highest NLL, chosen", (i) => DATA.index.chosen[i], -1],
  expert: ["highest NLL, expert", (i) => (DATA.index.expert[i] === null ? -Infinity : DATA.index.expert[i]), -1],
  long: ["longest", (i) => DATA.index.tokens[i], -1],
  short: ["shortest", (i) => DATA.index.tokens[i], 1],
  overlap: ["most like the expert", (i) => (DATA.index.overlap[i] === null ? -1 : DATA.index.overlap[i]), -1],
  pass: ["lowest pass rate", (i) => (DATA.index.pass_rate[i] === null ? 2 : DATA.index.pass_rate[i]), 1],
  line: ["file order", (i) => DATA.index.line[i], 1],
};

function matches(i, words) {
  if (view.tier !== "all" && TIERS[DATA.index.tier[i]] !== view.tier) return false;
  if (view.flagged && !DATA.index.flag[i]) return false;
  if (!words) return true;
  const one = row(i);
  return [one.id, one.q, one.c, one.e].some((text) => text.toLowerCase().includes(words));
}

function rowsSection() {
  const list = el("div", { id: "list" }), status = el("span", { class: "muted small", id: "found", role: "status" });
  const back = el("button", { type: "button", class: "button", on: { click: () => turn(-1) } }, "Previous");
  const on = el("button", { type: "button", class: "button", id: "next", on: { click: () => turn(1) } }, "Next");
  const where = el("span", { class: "muted small num" });
  const choose = (label, id, options, value, set) => el("label", {}, label, el("select", { id, on: { change: (event) => { set(event.target.value); search(); } } },
    options.map(([name, text]) => el("option", { value: name, selected: name === value }, text))));

  function search() {
    const words = view.search.trim().toLowerCase();
    const [, key, direction] = SORTS[view.sort];
    view.found = DATA.index.tier.map((_, i) => i).filter((i) => matches(i, words));
    view.found.sort((a, b) => direction * (key(a) === key(b) ? 0 : key(a) < key(b) ? -1 : 1) || a - b);
    view.page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(view.found.length / PAGE));
    list.replaceChildren(...view.found.slice(view.page * PAGE, (view.page + 1) * PAGE).map(rowItem));
    status.textContent = view.found.length ? `${count(view.found.length)} rows` : "no row matches";
    where.textContent = `page ${view.page + 1} of ${count(pages)}`;
    back.disabled = view.page === 0;
    on.disabled = view.page + 1 >= pages;
  }

  function turn(by) {
    view.page += by;
    draw();
    document.getElementById("rows").scrollIntoView();
  }

  let timer = 0;
  const find = el("input", { type: "search", id: "search", placeholder: "Search problem, texts, id", "aria-label": "Search rows", on: { input: (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => { view.search = event.target.value; search(); }, 200);
  } } });
  const { total, shown } = DATA.rows;
  const section = el("section", { id: "rows" }, el("h2", {}, "Rows"),
    shown < total ? el("p", { class: "muted small" }, `An even sample of ${count(shown)} of ${count(total)} rows; the figures above are of all rows.`) : null,
    el("div", { class: "tools" },
      choose("Tier", "tier", [["all", "all"], ...TIERS.map((tier) => [tier, tier])], view.tier, (value) => { view.tier = value; }),
      choose("Sort", "sort", Object.entries(SORTS).map(([name, [text]]) => [name, text]), view.sort, (value) => { view.sort = value; }),
      choose("Colour", "color", [["probability", "probability π"], ["ratio", "log-weight π/μ"]], view.color, (value) => { view.color = value; }),
      el("label", {}, el("input", { type: "checkbox", id: "flagged", on: { change: (event) => { view.flagged = event.target.checked; search(); } } }), "flagged only"),
      find, status),
    el("div", { class: "rowhead" }, el("span", {}, "tier"), el("span", {}, "problem"), ["expert NLL", "chosen NLL", "difference", "tokens"].map((name) => el("span", { class: "cell" }, name))),
    list, el("div", { class: "pages" }, back, where, on));
  search();
  return section;
}

function rowItem(i) {
  const one = row(i), tier = DATA.index.tier[i], gap = gapOf(i);
  const item = el("article", { class: "row" });
  const problem = el("span", { class: "what" });
  showText(problem, one.q.slice(0, 300).replace(/\s+/g, " "));
  const head = el("button", { type: "button", "aria-expanded": "false", on: { click: () => {
    const open = item.lastChild !== head;
    if (open) item.lastChild.remove();
    else item.append(rowDetail(i, one));
    head.setAttribute("aria-expanded", String(!open));
  } } },
  el("span", { class: `tier tier-${tier}` }, TIERS[tier]),
  problem,
  el("span", { class: "cell" }, number(DATA.index.expert[i])),
  el("span", { class: "cell" }, number(DATA.index.chosen[i])),
  el("span", { class: "cell gap" }, gap === null ? "–" : signed(gap)),
  el("span", { class: "cell" }, count(DATA.index.tokens[i])));
  if (one.leak) head.children[0].after(el("span", { class: "flag" }, "leak"));
  item.append(head);
  return item;
}

function rowDetail(i, one) {
  const fact = (name, value) => (value === null ? null : el("span", {}, `${name} `, el("b", {}, value)));
  const text = el("div", { class: "text" });
  showText(text, one.q);
  const facts = [fact("id", one.id), fact("row", count(DATA.index.line[i])), fact("pass rate", percentOrNull(DATA.index.pass_rate[i])), fact("overlap", percentOrNull(DATA.index.overlap[i])),
    fact("expert tokens", DATA.index.expert_tokens[i] ? count(DATA.index.expert_tokens[i]) : null),
    one.leak ? el("span", { class: "flag" }, `mentions a reference: “${one.leak}”`) : null, one.copy ? el("span", { class: "flag" }, "near-copy of the expert") : null];
  const own = TIERS[DATA.index.tier[i]] === "expert";
  return el("div", { class: "detail" }, el("div", { class: "meta" }, facts), text,
    el("div", { class: "pair" },
      side("Expert", one.e, own ? one.cp : one.ep, own ? one.cl : one.el, null),
      side(own ? "Chosen: the expert's text" : "Chosen response", one.c, one.cp, one.cl, own && !one.cw ? null : one.cw || zeros(one.cp))),
    scale(), one.cut ? el("p", { class: "muted small" }, `Shown up to ${count(DATA.rows.max_text)} characters and ${count(DATA.rows.max_tokens)} tokens a text.`) : null);
}

const percentOrNull = (value) => (value === null ? null : percent(value, 0));
// The code of log-weight 0, for rows whose behaviour is the policy itself.
const zeros = (code) => (LETTERS[Math.round(-DATA.code.low / DATA.code.step) >> 6] + LETTERS[Math.round(-DATA.code.low / DATA.code.step) & 63]).repeat(code.length / 2);

// One side of a row. Where mu is unknown the weight is pi itself, so both colourings are the same.
function side(title, text, policyCode, lengthCode, ratioCode) {
  const holder = el("div", { class: "text" });
  const policy = policyCode ? logprobs(policyCode) : null, ratio = ratioCode ? logprobs(ratioCode) : null;
  const column = el("div", {}, el("h3", {}, title), el("p", { class: "muted small" }, policy ? `${count(policy.length)} tokens, NLL ${number(-policy.reduce((a, b) => a + b, 0) / policy.length)} a token` : "not scored under the policy"));
  const weights = view.color === "ratio" && ratio ? ratio : policy;
  const kind = view.color === "ratio" && ratio ? "ratio" : "probability";
  if (policy && lengthCode) tokens(holder, text, decode(lengthCode), weights, kind, policy, ratio);
  else {
    if (policy) column.append(strip(weights, kind));
    showText(holder, text);
  }
  column.append(holder);
  return column;
}

function shade(value, kind) {
  if (kind === "probability") return `rgba(var(--hot), ${Math.min(0.8, (-value / 6) * 0.8).toFixed(3)})`;
  const alpha = Math.min(0.75, (Math.abs(value) / 2) * 0.75).toFixed(3);
  return value > 0 ? `rgba(var(--up), ${alpha})` : `rgba(var(--down), ${alpha})`;
}

function tokens(holder, text, lengths, weights, kind, policy, ratio) {
  let at = 0, waiting = [];
  lengths.forEach((length, t) => {
    waiting.push(t);
    // A token that ends inside a character is shown with the one that completes it.
    if (!length && t + 1 < lengths.length) return;
    if (!length && at >= text.length) return;
    const strongest = waiting.reduce((a, b) => (Math.abs(weights[b]) > Math.abs(weights[a]) ? b : a));
    const lines = waiting.map((k) => `log π ${number(policy[k], 2)} (π ${number(Math.exp(policy[k]), 3)})${ratio ? `\nlog π/μ ${number(ratio[k], 2)}` : ""}`);
    const token = el("span", { class: "tok", css: { "background-color": shade(weights[strongest], kind) }, on: { pointermove: (event) => showTip(event, lines.join("\n")), pointerleave: hideTip } });
    showText(token, text.slice(at, at + length));
    holder.append(token);
    at += length;
    waiting = [];
  });
  showText(holder, text.slice(at));
}

// Without token boundaries: one bar a token, in order.
function strip(weights, kind) {
  const canvas = el("canvas", { class: "strip", role: "img", "aria-label": "log-weights of the tokens in order", height: 26, width: Math.min(1200, weights.length * 4) });
  const pen = canvas.getContext("2d"), probe = getComputedStyle(document.documentElement), width = canvas.width / weights.length;
  const color = (name) => `rgb(${probe.getPropertyValue(name)})`;
  weights.forEach((value, t) => {
    const height = Math.min(1, Math.abs(value) / (kind === "probability" ? 6 : 2)) * 26;
    pen.fillStyle = color(kind === "probability" ? "--hot" : value > 0 ? "--up" : "--down");
    pen.fillRect(t * width, 26 - height, Math.max(1, width - 0.5), height);
  });
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), t = Math.min(weights.length - 1, Math.floor(((event.clientX - box.left) / box.width) * weights.length));
    showTip(event, `token ${t + 1} of ${weights.length}\n${kind === "probability" ? "log π" : "log π/μ"} ${number(weights[t], 2)}`);
  });
  canvas.addEventListener("pointerleave", hideTip);
  return canvas;
}

function scale() {
  return view.color === "ratio"
    ? el("div", { class: "scale" }, "log π/μ  −2", el("span", { class: "ramp ratio" }), "+2; where μ is unknown, the colour is that of π")
    : el("div", { class: "scale" }, "π = 1", el("span", { class: "ramp probability" }), "π = e⁻⁶: the stronger, the less the policy expected the token");
}

// Control and direction-changing characters are named, so that a text cannot rearrange the page.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function showText(holder, text) {
  let at = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > at) holder.append(text.slice(at, match.index));
    holder.append(el("span", { class: "control" }, `U+${match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`));
    at = match.index + 1;
  }
  if (at < text.length) holder.append(text.slice(at));
}
