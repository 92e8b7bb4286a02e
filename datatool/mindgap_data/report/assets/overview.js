// The upper part of the page: headline figures, findings, charts, the table of figures.
const estimate = (interval) => (interval ? interval.estimate : null);

function headline() {
  const all = DATA.figures.all;
  const rewritten = all.rows - (DATA.figures.expert ? DATA.figures.expert.rows : 0);
  const before = all.weights.before && all.weights.before.token.ess_fraction,
    after = all.weights.after.token.ess_fraction;
  const card = (label, from, value, note) =>
    el(
      "div",
      { class: "card figure" },
      el("div", { class: "label" }, label),
      el("div", { class: "value" }, from === null ? null : el("span", { class: "from" }, `${from} → `), value),
      el("div", { class: "range" }, note),
    );
  const policy = [DATA.policy.model, DATA.policy.revision, DATA.policy.adapter && `adapter ${DATA.policy.adapter}`]
    .filter(Boolean)
    .join(" · ");
  return el(
    "section",
    { id: "overview" },
    el("h1", {}, DATA.file),
    el("p", { class: "muted" }, `Gap to the policy ${policy}`),
    DATA.notices.map((notice) => el("p", { class: "muted small" }, `Note: ${notice}`)),
    el(
      "div",
      { class: "cards" },
      card("Rows rewritten", null, percent(rewritten / all.rows, 0), `${count(rewritten)} of ${count(all.rows)} rows`),
      card(
        "NLL per token, expert → chosen",
        all.before ? number(estimate(all.before.nll), 2) : "?",
        number(estimate(all.after.nll), 2),
        all.difference
          ? `per problem ${signed(estimate(all.difference))} ${range(all.difference, signed)}`
          : "the expert's text was not scored",
      ),
      card(
        "Token ESS/N, expert → chosen",
        before ? number(before.estimate, 2) : "?",
        number(after.estimate, 2),
        range(after),
      ),
      card(
        "Chosen likelier than expert",
        null,
        percent(estimate(all.closer), 0),
        all.closer ? `${range(all.closer, (v) => percent(v, 0))} of problems` : "",
      ),
    ),
  );
}

function findingsList(findings) {
  const names = { bad: "problem", warn: "check", good: "good" };
  return el(
    "div",
    { class: "findings" },
    findings.map((f) =>
      el(
        "div",
        { class: `finding ${f.severity}` },
        el("span", { class: "badge" }, names[f.severity]),
        el(
          "div",
          {},
          el("div", {}, el("b", {}, f.title), el("span", { class: "muted" }, `: ${f.detail}`)),
          f.advice ? el("div", { class: "small" }, f.advice) : null,
        ),
      ),
    ),
  );
}

function findingsSection() {
  return el(
    "section",
    { id: "findings" },
    el("h2", {}, "What stands out"),
    DATA.findings.length
      ? findingsList(DATA.findings)
      : el("p", { class: "card muted" }, "Nothing looks wrong by the rules of this report."),
  );
}

const byGroup = (counts, group) =>
  group === "all"
    ? counts[0].map((_, bin) => counts.reduce((sum, tier) => sum + tier[bin], 0))
    : counts[TIERS.indexOf(group)];

function chartsSection() {
  const holder = el("div", { class: "charts" });
  const chips = GROUPS.map((group) =>
    el(
      "button",
      { type: "button", class: "chip", disabled: !DATA.figures[group], on: { click: () => show(group) } },
      group === "all" ? "all rows" : group,
    ),
  );
  function show(group) {
    chips.forEach((chip, i) => chip.setAttribute("aria-pressed", GROUPS[i] === group));
    holder.replaceChildren(...groupCharts(group));
  }
  show("all");
  const shares = TIERS.map((tier) => ({
    name: tier,
    value: DATA.figures[tier] ? DATA.figures[tier].rows : 0,
    color: TIER_COLORS[tier],
  }));
  return el(
    "section",
    { id: "charts" },
    el("h2", {}, "The gap in pictures"),
    chartCard(
      "Where the responses come from",
      "self: drawn from the plain prompt; guided: drawn with the solution shown; expert: kept as it was",
      shareBar(`Tier shares: ${shares.map((s) => `${s.name} ${s.value}`).join(", ")}`, shares),
      shares.map((s) => [`${s.name} ${count(s.value)}`, s.color]),
    ),
    el(
      "div",
      { class: "chips", role: "group", "aria-label": "Rows shown in the charts", css: { "margin-top": "1rem" } },
      chips,
    ),
    holder,
  );
}

function groupCharts(group) {
  const { nll, tokens, pass_rate: passRate, overlap, weights } = DATA.histograms;
  const of = (h, name) => byGroup(h.series[name], group);
  const pair = (h) => [
    { name: "expert", color: "var(--expert)", counts: of(h, "expert") },
    { name: "chosen", color: "var(--chosen)", counts: of(h, "chosen") },
  ];
  const keys = [
    ["expert's text (before)", "var(--expert)"],
    ["chosen response (after)", "var(--chosen)"],
  ];
  const points = DATA.scatter.filter((p) => group === "all" || TIERS[p[0]] === group);
  return [
    chartCard(
      "NLL per token, by problem",
      "further left: likelier under the policy",
      histogram("Histogram of NLL per token, expert and chosen", {
        edges: nll.edges,
        height: 300,
        series: pair(nll),
        xLabel: "NLL per token (nats)",
        yLabel: "share of rows",
      }),
      keys,
    ),
    chartCard(
      "Expert against chosen",
      "one point a problem; under the line, rewriting moved it towards the policy",
      scatterChart("Scatter of NLL per token, expert against chosen", points),
      TIERS.map((tier) => [tier, TIER_COLORS[tier]]),
    ),
    chartCard(
      "Token log-weights, with and without rewriting",
      "w = π on the expert's text; w = π/μ on sampled text, so 0 is on-policy",
      histogram("Histogram of token log-weights", {
        edges: weights.edges,
        log: true,
        unit: "tokens",
        xLabel: "log-weight of a token (nats)",
        yLabel: "share of tokens (log)",
        series: [
          { name: "expert's text, w = π", color: "var(--expert)", counts: of(weights, "before") },
          { name: "chosen, preset is", color: "var(--chosen)", counts: of(weights, "after") },
          { name: "chosen, w = π", color: "var(--dft)", counts: of(weights, "after_dft"), line: true },
        ],
      }),
      [
        ["expert's text, w = π", "var(--expert)"],
        ["chosen, as preset is weighs it", "var(--chosen)"],
        ["chosen, w = π (preset paper)", "var(--dft)"],
      ],
    ),
    chartCard(
      "Pass rate of the self stage",
      "correct / sampled; biased upward, as drawing stops at the first correct one",
      histogram("Histogram of pass rates", {
        edges: passRate.edges,
        series: [{ name: "problems", color: "var(--self)", counts: of(passRate, "pass rate") }],
        xLabel: "pass rate",
        yLabel: "share of problems",
      }),
    ),
    chartCard(
      "Length",
      "in tokens of the policy's tokenizer, end of turn included",
      histogram("Histogram of lengths in tokens", {
        edges: tokens.edges,
        series: pair(tokens),
        xLabel: "tokens",
        yLabel: "share of rows",
      }),
      keys,
    ),
    chartCard(
      "Overlap with the expert",
      "share of a rewritten response's 8-grams that stand in the expert's text; from 0.6 a near-copy",
      histogram("Histogram of overlap with the expert", {
        edges: overlap.edges,
        series: [{ name: "rewritten", color: "var(--guided)", counts: of(overlap, "overlap") }],
        xLabel: "overlap",
        yLabel: "share of rewritten rows",
      }),
    ),
  ];
}

function figuresSection() {
  const cell = (interval, show = number) =>
    el(
      "td",
      {},
      interval && interval.estimate !== null
        ? [show(interval.estimate), el("span", { class: "range" }, range(interval, show))]
        : "–",
    );
  const line = (label, read) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, label),
      GROUPS.map((group) => (DATA.figures[group] ? read(DATA.figures[group]) : el("td", {}, "–"))),
    );
  const heading = (text) =>
    el("tr", { class: "section" }, el("th", { colspan: GROUPS.length + 1, scope: "rowgroup" }, text));
  const weight = (side, level, name, show) => (f) => cell(f.weights[side] && f.weights[side][level][name], show);
  const sides = [
    ["before", "expert's text"],
    ["after", "chosen"],
    ["after_dft", "chosen, w = π"],
  ];
  const bound = DATA.settings.clip_max;
  const clipped = DATA.settings.clip === "mask" ? `outside [1/${bound}, ${bound}]` : `above ${bound}`;
  return el(
    "section",
    { id: "figures" },
    el("h2", {}, "Figures"),
    el(
      "div",
      { class: "card scroll" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", {}, ""),
            GROUPS.map((group) => el("th", { scope: "col" }, group)),
          ),
        ),
        el(
          "tbody",
          {},
          line("rows", (f) => el("td", {}, count(f.rows))),
          heading("How likely the policy finds the text"),
          line("NLL/token, expert (nats)", (f) => cell(f.before && f.before.nll)),
          line("NLL/token, chosen", (f) => cell(f.after.nll)),
          line("difference, per problem", (f) => cell(f.difference, signed)),
          line("perplexity, expert", (f) => cell(f.before && f.before.perplexity)),
          line("perplexity, chosen", (f) => cell(f.after.perplexity)),
          heading("Token weights"),
          sides.map(([side, name]) => line(`ESS/N, ${name}`, weight(side, "token", "ess_fraction"))),
          sides.map(([side, name]) => line(`variance, ${name}`, weight(side, "token", "variance"))),
          sides.map(([side, name]) => line(`chi-square, ${name}`, weight(side, "token", "chi_square"))),
          DATA.settings.clip === "none"
            ? null
            : sides.map(([side, name]) => line(`${clipped}, ${name}`, weight(side, "token", "clipped_share", percent))),
          heading("Sequence weights"),
          sides.map(([side, name]) => line(`ESS/N, ${name}`, weight(side, "sequence", "ess_fraction"))),
          heading("KL(behaviour ‖ policy), nats per token"),
          ["k1", "k2", "k3"].map((name) => line(name, (f) => cell(f.kl && f.kl[name]))),
          heading("Prompt gap of guided rows, plain − guided (nats)"),
          line("per token", (f) => cell(f.prompt_gap && f.prompt_gap.per_token, signed)),
          line("per response", (f) => cell(f.prompt_gap && f.prompt_gap.per_response, signed)),
        ),
      ),
    ),
    el(
      "p",
      { class: "muted small" },
      `In brackets: ${percent(DATA.settings.confidence, 0)} bootstrap intervals over rows (${count(DATA.settings.resamples)} resamples).`,
    ),
    noiseNote(),
    drawsTable(),
    styleTable(),
  );
}

function noiseNote() {
  if (!DATA.noise) return null;
  const levels = Object.entries(DATA.noise.ess).map(([level, ess]) => `${number(ess)} (${level})`);
  return el(
    "p",
    { id: "noise", class: "muted small" },
    `Noise alone, before any training: ESS/N ${levels.join(", ")}; ${number(DATA.noise.sd, 4)} nats per token (sd), ` +
      `${percent(DATA.noise.outside)} of token ratios outside [0.9, 1.1].`,
  );
}

// How each tier is written, and its ratio to the self tier.
function styleTable() {
  const tiers = TIERS.filter((tier) => DATA.style[tier]);
  const measures = [
    ["words", "words per response"],
    ["doubt", "marks of doubt per 1,000 words"],
    ["formulae", "formulae per 1,000 words"],
  ];
  const cell = (tier, name) => {
    const value = DATA.style[tier][name],
      ratio = (DATA.style[tier].against_self || {})[name];
    return el(
      "td",
      {},
      number(value.estimate, 1),
      el(
        "span",
        { class: "range" },
        range(value, (bound) => number(bound, 1)),
      ),
      ratio && ratio.estimate !== null ? el("span", { class: "muted" }, ` ×${number(ratio.estimate, 2)}`) : null,
    );
  };
  return [
    el("h2", {}, "How the responses are written"),
    el("p", { class: "muted small" }, "Marks of doubt: “wait”, “let me check”, … ×: ratio to the self tier."),
    el(
      "div",
      { class: "card scroll" },
      el(
        "table",
        { id: "style" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", {}, "tier"),
            measures.map(([, title]) => el("th", { scope: "col" }, title)),
          ),
        ),
        el(
          "tbody",
          {},
          tiers.map((tier) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, tier),
              measures.map(([name]) => cell(tier, name)),
            ),
          ),
        ),
      ),
    ),
  ];
}

function drawsTable() {
  const stages = Object.keys(DATA.attempts).filter((stage) => DATA.attempts[stage].sampled);
  if (!stages.length) return null;
  const outcomes = Object.keys(DATA.attempts[stages[0]]);
  return [
    el("h2", {}, "What became of the draws"),
    el(
      "div",
      { class: "card scroll" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", {}, "stage"),
            outcomes.map((name) => el("th", { scope: "col" }, name.replace("_", " "))),
          ),
        ),
        el(
          "tbody",
          {},
          stages.map((stage) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, stage),
              outcomes.map((name) =>
                el(
                  "td",
                  {},
                  count(DATA.attempts[stage][name]),
                  name === "sampled"
                    ? null
                    : el(
                        "span",
                        { class: "range" },
                        percent(DATA.attempts[stage][name] / DATA.attempts[stage].sampled),
                      ),
                ),
              ),
            ),
          ),
        ),
      ),
    ),
  ];
}

const CURVES = [
  ["nll", "NLL per token", "nats"],
  ["loss", "Loss (weighted)", "loss"],
  ["ess", "Effective sample size", "ESS/N"],
  ["weight_variance", "Weight variance", "variance"],
  ["clipped_share", "Clipped share", "share"],
  ["k3", "KL from the behaviour policy (k3)", "nats/token"],
  ["grad_norm", "Gradient norm", "norm"],
  ["learning_rate", "Learning rate", "rate"],
  ["eval_loss", "Evaluation loss", "loss"],
  ["eval_nll", "Evaluation NLL per token", "nats"],
  ["eval_ess", "Evaluation effective sample size", "ESS/N"],
  ["tokens", "Trained tokens a log step", "tokens"],
];

function trainingSection() {
  if (!DATA.training) return null;
  const { curves, findings } = DATA.training;
  return el(
    "section",
    { id: "training" },
    el("h2", {}, "Training"),
    findingsList(findings),
    el(
      "div",
      { class: "charts", css: { "margin-top": ".8rem" } },
      CURVES.filter(([metric]) => curves[metric]).map(([metric, title, unit]) => {
        const names = Object.keys(curves[metric]);
        return chartCard(
          title,
          null,
          lineChart(`${title} by step`, curves[metric], unit),
          names.includes("run") ? null : names.map((name) => [name, TIER_COLORS[name]]),
        );
      }),
    ),
  );
}

// What fine-tuning cost: a table for each policy, before against after, and its verdicts in words.
function forgettingSection() {
  if (!DATA.forgetting.length) return null;
  return el(
    "section",
    { id: "forgetting" },
    el("h2", {}, "What fine-tuning cost"),
    DATA.forgetting.map((card) => {
      const lines = [["general text, NLL per token", card.text.before, card.text.after, card.text.difference]];
      for (const task of card.tasks) lines.push([`${task.name}, share right`, task.a, task.b, task.difference]);
      if (card.divergence) {
        lines.push(["KL to before, nats per token", 0, card.divergence.k3.estimate, card.divergence.k3]);
      }
      return el(
        "div",
        { class: "card scroll" },
        el("h3", {}, card.name),
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              ["measure", "before", "after", "change"].map((name) => el("th", { scope: "col" }, name)),
            ),
          ),
          el(
            "tbody",
            {},
            lines.map(([name, before, after, change]) =>
              el(
                "tr",
                {},
                el("th", { scope: "row" }, name),
                el("td", {}, number(before)),
                el("td", {}, number(after)),
                el("td", {}, signed(change.estimate), el("span", { class: "range" }, range(change, signed))),
              ),
            ),
          ),
        ),
        (card.in_words || []).map((sentence) => el("p", { class: "small" }, sentence)),
      );
    }),
  );
}
