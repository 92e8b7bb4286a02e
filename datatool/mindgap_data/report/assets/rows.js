// The row browser: an index of columns filters and sorts at once; texts are parsed block by block when shown.
const PAGE = 20;
const blocks = [...document.querySelectorAll("script.rows")];
const parsed = new Map();

function row(number) {
  const size = DATA.rows.block,
    block = Math.floor(number / size);
  if (!parsed.has(block)) parsed.set(block, JSON.parse(blocks[block].textContent));
  return parsed.get(block)[number % size];
}

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
  const list = el("div", { id: "list" }),
    status = el("span", { class: "muted small", id: "found", role: "status" });
  const back = el("button", { type: "button", class: "button", on: { click: () => turn(-1) } }, "Previous");
  const on = el("button", { type: "button", class: "button", id: "next", on: { click: () => turn(1) } }, "Next");
  const where = el("span", { class: "muted small num" });
  const choose = (label, id, options, value, set) =>
    el(
      "label",
      {},
      label,
      el(
        "select",
        {
          id,
          on: {
            change: (event) => {
              set(event.target.value);
              search();
            },
          },
        },
        options.map(([name, text]) => el("option", { value: name, selected: name === value }, text)),
      ),
    );

  function search() {
    const words = view.search.trim().toLowerCase();
    const [, key, direction] = SORTS[view.sort];
    view.found = DATA.index.tier.map((_, i) => i).filter((i) => matches(i, words));
    // Ties, such as the expert's rows by gap: what the policy finds least likely comes first.
    const order = (a, b) => direction * (key(a) === key(b) ? 0 : key(a) < key(b) ? -1 : 1);
    view.found.sort((a, b) => order(a, b) || DATA.index.chosen[b] - DATA.index.chosen[a] || a - b);
    view.page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(view.found.length / PAGE));
    list.replaceChildren(...view.found.slice(view.page * PAGE, (view.page + 1) * PAGE).map(rowItem));
    status.textContent = view.found.length
      ? `${count(view.found.length)} ${view.found.length === 1 ? "row" : "rows"}`
      : "no row matches";
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
  const find = el("input", {
    type: "search",
    id: "search",
    placeholder: "Search problem, texts, id",
    "aria-label": "Search rows",
    on: {
      input: (event) => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          view.search = event.target.value;
          search();
        }, 200);
      },
    },
  });
  const { total, shown } = DATA.rows;
  const section = el(
    "section",
    { id: "rows" },
    el("h2", {}, "Rows"),
    shown < total
      ? el(
          "p",
          { class: "muted small" },
          `An even sample of ${count(shown)} of ${count(total)} rows; the figures above are of all rows.`,
        )
      : null,
    el(
      "div",
      { class: "tools" },
      choose("Tier", "tier", [["all", "all"], ...TIERS.map((tier) => [tier, tier])], view.tier, (value) => {
        view.tier = value;
      }),
      choose(
        "Sort",
        "sort",
        Object.entries(SORTS).map(([name, [text]]) => [name, text]),
        view.sort,
        (value) => {
          view.sort = value;
        },
      ),
      choose(
        "Colour",
        "color",
        [
          ["probability", "probability π"],
          ["ratio", "log-weight π/μ"],
        ],
        view.color,
        (value) => {
          view.color = value;
        },
      ),
      el(
        "label",
        {},
        el("input", {
          type: "checkbox",
          id: "flagged",
          on: {
            change: (event) => {
              view.flagged = event.target.checked;
              search();
            },
          },
        }),
        "flagged only",
      ),
      find,
      status,
    ),
    el(
      "div",
      { class: "rowhead" },
      el("span", {}, "tier"),
      el("span", {}, "problem"),
      ["expert NLL", "chosen NLL", "difference", "tokens"].map((name) => el("span", { class: "cell" }, name)),
    ),
    list,
    el("div", { class: "pages" }, back, where, on),
  );
  search();
  return section;
}

function rowItem(i) {
  const one = row(i),
    tier = DATA.index.tier[i],
    gap = gapOf(i);
  const item = el("article", { class: "row" });
  const problem = el("span", { class: "what" });
  showText(problem, one.q.slice(0, 300).replace(/\s+/g, " "));
  const head = el(
    "button",
    {
      type: "button",
      "aria-expanded": "false",
      on: {
        click: () => {
          const open = item.lastChild !== head;
          if (open) item.lastChild.remove();
          else item.append(rowDetail(i, one));
          head.setAttribute("aria-expanded", String(!open));
        },
      },
    },
    el("span", { class: `tier tier-${tier}` }, TIERS[tier]),
    problem,
    el("span", { class: "cell" }, number(DATA.index.expert[i])),
    el("span", { class: "cell" }, number(DATA.index.chosen[i])),
    el("span", { class: "cell gap" }, gap === null ? "–" : signed(gap)),
    el("span", { class: "cell" }, count(DATA.index.tokens[i])),
  );
  for (const kind of new Set(one.f.map(([kind]) => kind))) {
    problem.prepend(el("span", { class: "flag" }, kind.replace("_", " ")));
  }
  item.append(head);
  return item;
}

function rowDetail(i, one) {
  const fact = (name, value) => (value === null ? null : el("span", {}, `${name} `, el("b", {}, value)));
  const text = el("div", { class: "text" });
  showText(text, one.q);
  const facts = [
    fact("id", one.id),
    fact("row", count(DATA.index.line[i])),
    fact("pass rate", percentOrNull(DATA.index.pass_rate[i])),
    fact("overlap", percentOrNull(DATA.index.overlap[i])),
    fact("expert tokens", DATA.index.expert_tokens[i] ? count(DATA.index.expert_tokens[i]) : null),
    ...one.f.map(([kind, detail]) => el("span", { class: "flag" }, `${kind.replace("_", " ")}: ${detail}`)),
  ];
  const own = TIERS[DATA.index.tier[i]] === "expert";
  return el(
    "div",
    { class: "detail" },
    el("div", { class: "meta" }, facts),
    text,
    el(
      "div",
      { class: own ? "pair single" : "pair" },
      own ? null : side("Expert", one.e, DATA.index.expert_tokens[i], DATA.index.expert[i], one.ep, one.el, null),
      own
        ? side(
            "The expert's text, kept",
            one.c,
            DATA.index.tokens[i],
            DATA.index.chosen[i],
            one.cp,
            one.cl,
            one.cw || null,
          )
        : side(
            "Chosen response",
            one.c,
            DATA.index.tokens[i],
            DATA.index.chosen[i],
            one.cp,
            one.cl,
            one.cw || zeros(one.cp),
          ),
    ),
    scale(),
    one.cut
      ? el(
          "p",
          { class: "muted small" },
          `Shown up to ${count(DATA.rows.max_text)} characters and ${count(DATA.rows.max_tokens)} tokens a text.`,
        )
      : null,
  );
}

const percentOrNull = (value) => (value === null ? null : percent(value, 0));
