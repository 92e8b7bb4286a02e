"use strict";
const DATA = JSON.parse(document.getElementById("summary").textContent);
const TIERS = DATA.tiers;
const GROUPS = [...TIERS, "all"];
const TIER_COLORS = {
  self: "var(--self)",
  guided: "var(--guided)",
  expert: "var(--expert)",
  all: "var(--text)",
  run: "var(--chosen)",
};

// Everything that comes from data goes through text nodes; nothing here ever parses markup.
function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "css")
      for (const [property, setting] of Object.entries(value)) node.style.setProperty(property, setting);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 1e-9) return "0";
  if (Math.abs(value) >= 1e5 || Math.abs(value) < 10 ** -digits) return value.toExponential(1);
  return value.toFixed(Math.abs(value) >= 1000 ? 0 : digits);
}

const count = (value) => value.toLocaleString("en-US");
const percent = (value, digits = 1) =>
  value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)}%`;
const signed = (value, digits = 3) => (value > 0 ? "+" : "") + number(value, digits);

function range(interval, show = number) {
  return interval && interval.low !== null ? `[${show(interval.low)}, ${show(interval.high)}]` : "";
}

const tip = document.getElementById("tip");

function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
}

function hideTip() {
  tip.hidden = true;
}

function setUpTheme() {
  const button = document.getElementById("theme");
  const names = ["auto", "light", "dark"];
  let current = "auto";
  try {
    current = names.includes(localStorage.getItem("mindgap-theme")) ? localStorage.getItem("mindgap-theme") : "auto";
  } catch (error) {
    /* storage is off for files in some browsers */
  }
  const apply = () => {
    if (current === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = current;
    button.textContent = `Theme: ${current}`;
  };
  button.addEventListener("click", () => {
    current = names[(names.indexOf(current) + 1) % names.length];
    try {
      localStorage.setItem("mindgap-theme", current);
    } catch (error) {
      /* as above */
    }
    apply();
    document.dispatchEvent(new Event("themechange"));
  });
  apply();
}
