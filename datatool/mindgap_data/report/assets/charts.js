// Small SVG charts, drawn to the width they get, drawn again when it changes.
const MARGIN = { top: 8, right: 10, bottom: 38, left: 46 };

function chart(label, height, draw) {
  const holder = el("div", { class: "chart" });
  let width = 0;
  new ResizeObserver(() => {
    const wanted = Math.floor(holder.clientWidth);
    if (!wanted || wanted === width) return;
    width = wanted;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    draw(picture, {
      width,
      height,
      left: MARGIN.left,
      right: width - MARGIN.right,
      top: MARGIN.top,
      bottom: height - MARGIN.bottom,
    });
    holder.replaceChildren(picture);
  }).observe(holder);
  return holder;
}

function chartCard(title, note, body, keys) {
  return el(
    "section",
    { class: "card" },
    el("h3", {}, title),
    note ? el("p", { class: "muted small" }, note) : null,
    body,
    keys ? legend(keys) : null,
  );
}

function legend(keys) {
  return el(
    "div",
    { class: "legend" },
    keys.map(([name, color]) =>
      el("span", { class: "key" }, el("span", { class: "swatch", css: { background: color } }), name),
    ),
  );
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((m) => m * power >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++)
    found.push(Math.abs(k * step) < step / 1e6 ? 0 : k * step);
  return found;
}

function tickLabel(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

const shareLabel = (share) => (share === 0 ? "0" : `${Number((100 * share).toPrecision(2))}%`);

// Left of the axis: the widest tick label, and the axis's own label.
function makeRoom(box, yTicks, format = tickLabel) {
  box.left = 30 + 6.6 * Math.max(...yTicks.map((value) => format(value).length));
}

function axes(picture, box, x, y, xTicks, yTicks, xLabel, yLabel, yFormat = tickLabel) {
  for (const value of yTicks) {
    picture.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, yFormat(value)));
  }
  for (const value of xTicks)
    picture.append(svg("text", { x: x(value), y: box.bottom + 16, "text-anchor": "middle" }, tickLabel(value)));
  picture.append(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  picture.append(svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 33, "text-anchor": "middle" }, xLabel));
  if (yLabel) {
    const middle = (box.top + box.bottom) / 2;
    picture.append(
      svg("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, yLabel),
    );
  }
}

function empty(picture, box, text) {
  picture.append(
    svg("text", { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2, "text-anchor": "middle" }, text),
  );
}

// series: [{name, color, counts, line}], counts over the same edges; shares of each series are drawn.
function histogram(label, { edges, series, xLabel, yLabel, log = false, unit = "rows", height = 230 }) {
  return chart(label, height, (picture, box) => {
    const totals = series.map((s) => s.counts.reduce((a, b) => a + b, 0));
    if (!totals.some((total) => total > 0)) return empty(picture, box, "no rows with this measure");
    const shares = series.map((s, i) => s.counts.map((c) => (totals[i] ? c / totals[i] : 0)));
    const peak = Math.max(...shares.flat());
    const floor = log ? 10 ** Math.min(-1, Math.max(-6, Math.floor(Math.log10(1 / Math.max(...totals))))) : 0;
    const yTicks = log
      ? Array.from({ length: Math.round(-Math.log10(floor)) + 1 }, (_, k) => floor * 10 ** k)
      : ticks(0, peak, 4);
    makeRoom(box, yTicks, shareLabel);
    const x = (value) =>
      box.left + ((value - edges[0]) / (edges[edges.length - 1] - edges[0])) * (box.right - box.left);
    const y = log
      ? (share) =>
          box.bottom -
          Math.max(0, Math.log10(Math.max(share, floor) / floor) / Math.log10(1 / floor)) * (box.bottom - box.top)
      : (share) => box.bottom - (share / peak) * (box.bottom - box.top) * 0.97;
    axes(
      picture,
      box,
      x,
      y,
      ticks(edges[0], edges[edges.length - 1], Math.max(3, box.width / 90)),
      yTicks,
      xLabel,
      yLabel,
      shareLabel,
    );
    series.forEach((s, i) => {
      if (!totals[i]) return;
      let path = `M${x(edges[0])} ${box.bottom}`;
      shares[i].forEach((share, bin) => {
        path += `L${x(edges[bin])} ${y(share)}L${x(edges[bin + 1])} ${y(share)}`;
      });
      path += `L${x(edges[edges.length - 1])} ${box.bottom}`;
      picture.append(
        svg("path", {
          d: path,
          css: {
            fill: s.line ? "none" : s.color,
            "fill-opacity": 0.16,
            stroke: s.color,
            "stroke-width": 1.8,
            "stroke-dasharray": s.line ? "4 3" : "none",
          },
          "stroke-linejoin": "round",
        }),
      );
    });
    const bins = edges.length - 1;
    const cursor = svg("rect", {
      y: box.top,
      height: box.bottom - box.top,
      width: 0,
      css: { fill: "var(--text)", "fill-opacity": 0.06 },
    });
    picture.append(
      cursor,
      hover(
        box,
        (event, offset) => {
          const bin = Math.min(
            bins - 1,
            Math.max(0, Math.floor(((offset - box.left) / (box.right - box.left)) * bins)),
          );
          cursor.setAttribute("x", x(edges[bin]));
          cursor.setAttribute("width", x(edges[bin + 1]) - x(edges[bin]));
          const last = bin === bins - 1,
            first = bin === 0;
          const name = `${first && edges[0] < 0 ? "≤ " : ""}${number(edges[bin], 2)} to ${number(edges[bin + 1], 2)}${last ? " or more" : ""}`;
          showTip(
            event,
            [
              name,
              ...series.map((s, i) => `${s.name}: ${count(s.counts[bin])} ${unit} (${percent(shares[i][bin])})`),
            ].join("\n"),
          );
        },
        () => cursor.setAttribute("width", 0),
      ),
    );
  });
}

function hover(box, move, leave) {
  const area = svg("rect", {
    x: box.left,
    y: box.top,
    width: box.right - box.left,
    height: box.bottom - box.top,
    fill: "transparent",
  });
  area.addEventListener("pointermove", (event) =>
    move(
      event,
      event.clientX - area.ownerSVGElement.getBoundingClientRect().left,
      event.clientY - area.ownerSVGElement.getBoundingClientRect().top,
    ),
  );
  area.addEventListener("pointerleave", () => {
    hideTip();
    leave();
  });
  return area;
}

// points: [[tier, expert, chosen]]
function scatterChart(label, points) {
  return chart(label, 300, (picture, box) => {
    if (!points.length) return empty(picture, box, "no row has expert log-probs");
    const sorted = points.flatMap((p) => [p[1], p[2]]).sort((a, b) => a - b);
    const top = sorted[Math.floor((sorted.length - 1) * 0.995)] * 1.08 || 1;
    makeRoom(box, ticks(0, top, 5));
    const x = (value) => box.left + (Math.min(value, top) / top) * (box.right - box.left);
    const y = (value) => box.bottom - (Math.min(value, top) / top) * (box.bottom - box.top);
    axes(
      picture,
      box,
      x,
      y,
      ticks(0, top, Math.max(3, box.width / 90)),
      ticks(0, top, 5),
      "expert text, NLL per token (nats)",
      "chosen response",
    );
    picture.append(
      svg("line", {
        x1: x(0),
        y1: y(0),
        x2: x(top),
        y2: y(top),
        css: { stroke: "var(--muted)", "stroke-dasharray": "5 4" },
      }),
    );
    for (const [tier, before, after] of points)
      picture.append(
        svg("circle", {
          cx: x(before),
          cy: y(after),
          r: points.length > 400 ? 2.2 : 3.2,
          css: { fill: TIER_COLORS[TIERS[tier]], "fill-opacity": 0.5 },
        }),
      );
    picture.append(
      hover(
        box,
        (event, px, py) => {
          let best = null,
            distance = 144;
          for (const point of points) {
            const d = (x(point[1]) - px) ** 2 + (y(point[2]) - py) ** 2;
            if (d < distance) {
              distance = d;
              best = point;
            }
          }
          if (best) showTip(event, `${TIERS[best[0]]}\nexpert ${number(best[1])}\nchosen ${number(best[2])}`);
          else hideTip();
        },
        () => {},
      ),
    );
  });
}

// groups: {name: [steps, values]}
function lineChart(label, groups, yLabel) {
  return chart(label, 210, (picture, box) => {
    const names = Object.keys(groups);
    const all = names.flatMap((name) => groups[name][1].filter((v) => v !== null));
    const steps = names.flatMap((name) => groups[name][0]);
    if (!all.length) return empty(picture, box, "no finite value");
    let low = Math.min(...all),
      high = Math.max(...all);
    if (low > 0 && low < 0.5 * high) low = 0;
    if (high === low) {
      high += Math.abs(high) * 0.1 || 1;
      low -= Math.abs(low) * 0.1;
    }
    const first = Math.min(...steps),
      last = Math.max(...steps, first + 1);
    const yTicks = ticks(low, high, 4);
    makeRoom(box, yTicks);
    const x = (value) => box.left + ((value - first) / (last - first)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top) * 0.97;
    axes(picture, box, x, y, ticks(first, last, Math.max(3, box.width / 90)), yTicks, "step", yLabel);
    for (const name of names) {
      let path = "",
        pen = false;
      groups[name][1].forEach((value, i) => {
        if (value === null) {
          pen = false;
          return;
        }
        path += `${pen ? "L" : "M"}${x(groups[name][0][i])} ${y(value)}`;
        pen = true;
      });
      picture.append(
        svg("path", {
          d: path,
          fill: "none",
          css: { stroke: TIER_COLORS[name], "stroke-width": name === "all" ? 2.2 : 1.6 },
          "stroke-linejoin": "round",
        }),
      );
    }
    const cursor = svg("line", { y1: box.top, y2: box.bottom, visibility: "hidden", css: { stroke: "var(--muted)" } });
    picture.append(
      cursor,
      hover(
        box,
        (event, px) => {
          const at = first + ((px - box.left) / (box.right - box.left)) * (last - first);
          const lines = names.map((name) => [name, nearest(groups[name], at)]);
          const step = lines[0][1][0];
          cursor.setAttribute("x1", x(step));
          cursor.setAttribute("x2", x(step));
          cursor.setAttribute("visibility", "visible");
          showTip(
            event,
            [
              `step ${step}`,
              ...lines.map(
                ([name, [, value]]) =>
                  `${name === "run" ? yLabel : name}: ${value === null ? "not finite" : number(value)}`,
              ),
            ].join("\n"),
          );
        },
        () => cursor.setAttribute("visibility", "hidden"),
      ),
    );
  });
}

function nearest([steps, values], at) {
  let best = 0;
  steps.forEach((step, i) => {
    if (Math.abs(step - at) < Math.abs(steps[best] - at)) best = i;
  });
  return [steps[best], values[best]];
}

function shareBar(label, parts) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  return chart(label, 44, (picture, box) => {
    let at = 0;
    for (const part of parts) {
      const width = total ? (part.value / total) * box.width : 0;
      if (!width) continue;
      const bar = svg("rect", {
        x: at + 1,
        y: 4,
        width: Math.max(1, width - 2),
        height: 34,
        rx: 5,
        css: { fill: part.color },
      });
      bar.addEventListener("pointermove", (event) =>
        showTip(event, `${part.name}: ${count(part.value)} (${percent(part.value / total)})`),
      );
      bar.addEventListener("pointerleave", hideTip);
      picture.append(bar);
      if (width > 46)
        picture.append(
          svg(
            "text",
            {
              x: at + width / 2,
              y: 26,
              "text-anchor": "middle",
              "pointer-events": "none",
              css: { fill: "var(--card)", "font-weight": 650, "font-size": "13px" },
            },
            percent(part.value / total, 0),
          ),
        );
      at += width;
    }
  });
}
