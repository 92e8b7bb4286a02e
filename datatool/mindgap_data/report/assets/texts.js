// A row's texts, their tokens coloured by log-weight.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGIT = new Map([...LETTERS].map((letter, i) => [letter, i]));

function decode(code) {
  const values = new Array(code.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = DIGIT.get(code[2 * i]) * 64 + DIGIT.get(code[2 * i + 1]);
  return values;
}

const logprobs = (code) => decode(code).map((value) => DATA.code.low + value * DATA.code.step);

// The code of log-weight 0, for rows whose behaviour is the policy itself.
const zeros = (code) =>
  (
    LETTERS[Math.round(-DATA.code.low / DATA.code.step) >> 6] +
    LETTERS[Math.round(-DATA.code.low / DATA.code.step) & 63]
  ).repeat(code.length / 2);

// One side of a row. Where mu is unknown the weight is pi itself, so both colourings are the same.
function side(title, text, size, nll, policyCode, lengthCode, ratioCode) {
  const holder = el("div", { class: "text" });
  const policy = policyCode ? logprobs(policyCode) : null,
    ratio = ratioCode ? logprobs(ratioCode) : null;
  const column = el(
    "div",
    {},
    el("h3", {}, title),
    el(
      "p",
      { class: "muted small" },
      policy ? `${count(size)} tokens, NLL ${number(nll)} a token` : "not scored under the policy",
    ),
  );
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
  let at = 0,
    waiting = [];
  lengths.forEach((length, t) => {
    waiting.push(t);
    // A token that ends inside a character is shown with the one that completes it.
    if (!length && t + 1 < lengths.length) return;
    if (!length && at >= text.length) return;
    const strongest = waiting.reduce((a, b) => (Math.abs(weights[b]) > Math.abs(weights[a]) ? b : a));
    const lines = waiting.map(
      (k) =>
        `log π ${number(policy[k], 2)} (π ${number(Math.exp(policy[k]), 3)})${ratio ? `\nlog π/μ ${number(ratio[k], 2)}` : ""}`,
    );
    const token = el("span", {
      class: "tok",
      css: { "background-color": shade(weights[strongest], kind) },
      on: { pointermove: (event) => showTip(event, lines.join("\n")), pointerleave: hideTip },
    });
    showText(token, text.slice(at, at + length));
    holder.append(token);
    at += length;
    waiting = [];
  });
  showText(holder, text.slice(at));
}

// Without token boundaries: one bar a token, in order.
function strip(weights, kind) {
  const canvas = el("canvas", {
    class: "strip",
    role: "img",
    "aria-label": "log-weights of the tokens in order",
    height: 26,
    width: Math.min(1200, weights.length * 4),
  });
  const pen = canvas.getContext("2d"),
    probe = getComputedStyle(document.documentElement),
    width = canvas.width / weights.length;
  const color = (name) => `rgb(${probe.getPropertyValue(name)})`;
  weights.forEach((value, t) => {
    const height = Math.min(1, Math.abs(value) / (kind === "probability" ? 6 : 2)) * 26;
    pen.fillStyle = color(kind === "probability" ? "--hot" : value > 0 ? "--up" : "--down");
    pen.fillRect(t * width, 26 - height, Math.max(1, width - 0.5), height);
  });
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(),
      t = Math.min(weights.length - 1, Math.floor(((event.clientX - box.left) / box.width) * weights.length));
    showTip(
      event,
      `token ${t + 1} of ${weights.length}\n${kind === "probability" ? "log π" : "log π/μ"} ${number(weights[t], 2)}`,
    );
  });
  canvas.addEventListener("pointerleave", hideTip);
  return canvas;
}

function scale() {
  return view.color === "ratio"
    ? el(
        "div",
        { class: "scale" },
        "log π/μ  −2",
        el("span", { class: "ramp ratio" }),
        "+2; where μ is unknown, the colour is that of π",
      )
    : el(
        "div",
        { class: "scale" },
        "π = 1",
        el("span", { class: "ramp probability" }),
        "π = e⁻⁶: the stronger, the less the policy expected the token",
      );
}

// Control and direction-changing characters are named, so that a text cannot rearrange the page.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function showText(holder, text) {
  let at = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > at) holder.append(text.slice(at, match.index));
    holder.append(
      el("span", { class: "control" }, `U+${match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`),
    );
    at = match.index + 1;
  }
  if (at < text.length) holder.append(text.slice(at));
}
