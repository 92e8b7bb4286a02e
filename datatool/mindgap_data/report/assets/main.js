setUpTheme();
const sections = [
  headline(),
  findingsSection(),
  chartsSection(),
  figuresSection(),
  trainingSection(),
  forgettingSection(),
  DATA.rows.shown ? rowsSection() : null,
].filter(Boolean);
document
  .getElementById("main")
  .append(
    ...sections,
    el(
      "footer",
      {},
      `mindgap ${DATA.version}. One file, nothing loaded from anywhere; it holds the texts of ${count(DATA.rows.shown)} rows.`,
    ),
  );
const NAV = {
  overview: "Overview",
  findings: "Findings",
  charts: "Charts",
  figures: "Figures",
  training: "Training",
  forgetting: "Forgetting",
  rows: "Rows",
};
document
  .getElementById("nav")
  .append(...sections.map((section) => el("a", { href: `#${section.id}` }, NAV[section.id])));
