"""The report in a real headless Chromium: it draws, hostile rows do nothing, 10,000 rows stay usable."""

import json
import shutil
import time

import numpy as np
import pytest
from click.testing import CliRunner

from gap_records import make_record, write_records
from mindgap_data.commands import main
from mindgap_data.fingerprints import tokenizer_fingerprint
from mindgap_data.gap.noise import NoiseFloor, noise_file
from tiny import save_tiny_tokenizer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER),
        reason="no chromium or chromedriver on PATH; run: apt-get install chromium chromium-driver",
    ),
]

HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    "<!--<script>",
    'javascript:window.pwned=3 " onmouseover="window.pwned=4',
    "abc \u202e reversed \u2066 isolated \x00\x07\x1b[31m \u200b end",
    "{{constructor.constructor('window.pwned=5')()}} ${window.pwned=6}",
    "word " * 300_000,
    "\U0001f600 中文 é \ud800",
]


def selenium_driver(folder):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={folder}",
        "window-size=1280,900",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = selenium_driver(tmp_path_factory.mktemp("profile"))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tiny_tokenizer(folder)
    return folder


def tokenised_row(tokenizer, tier, problem, response, expert, rng, **columns):
    """A row whose ids spell its texts, with made-up log-probs; the expert is less likely than the response."""
    ids, expert_ids = ([*tokenizer(text, add_special_tokens=False)["input_ids"], 256] for text in (response, expert))
    if tier == "expert":
        ids = expert_ids
    policy = np.round(-rng.gamma(0.3, 1.5, size=len(ids)), 4)
    behavior = None if tier == "expert" else policy if tier == "self" else np.minimum(0, policy + 0.1)
    row = make_record(
        tier,
        policy.tolist(),
        behavior if behavior is None else behavior.tolist(),
        **columns,
        problem=problem,
        response=expert if tier == "expert" else response,
        demonstration=expert,
        tokenizer=tokenizer_fingerprint(tokenizer),
    )
    row["response_token_ids"] = ids
    if tier != "expert":
        row["expert_token_ids"] = expert_ids
        row["expert_logprobs"] = np.round(-rng.gamma(0.5, 2.0, size=len(expert_ids)), 4).tolist()
    return row


@pytest.fixture(scope="module")
def report(tmp_path_factory, tokenizer_folder):
    """A page of 60 plain rows and the hostile ones, with token boundaries and training curves."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("report")
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    rng = np.random.default_rng(0)
    rows = [
        tokenised_row(
            tokenizer,
            ("self", "guided", "expert")[i % 3],
            f"Problem number {i}: what is {i} + 1?",
            f"Adding one to {i} gives {i + 1}.",
            f"We have {i} + 1 = {i + 1}, so the answer is {i + 1}.",
            rng,
            id=f"plain{i}",
        )
        for i in range(60)
    ]
    for i, text in enumerate(HOSTILE):
        row = make_record(
            "self",
            [-1.0] * 5,
            [-1.0] * 5,
            [-2.0] * 5,
            id=f"hostile{i} {text[:80]}",
            problem=text,
            response=text,
            demonstration=text,
            tokenizer=tokenizer_fingerprint(tokenizer),
        )
        rows.append(row)
    leaky = make_record(
        "guided",
        [-1.0] * 5,
        [-1.0] * 5,
        [-2.0] * 5,
        id="leaky",
        problem="What is 60 + 1?",
        response="As in the given solution, it is 61.",
        tokenizer=tokenizer_fingerprint(tokenizer),
    )
    rows.append(leaky)
    state = folder / "trainer_state.json"
    history = [
        {"step": s, "loss": 2 / s, "grad_norm": 1.0 + s % 3, "mindgap/all/nll": 1 / s}
        | {f"mindgap/{tier}/{name}": 1 / s for tier in ("self", "guided", "expert") for name in ("ess", "nll")}
        for s in range(1, 30)
    ]
    state.write_text(json.dumps({"log_history": history}))
    name = "<img src=x onerror=window.pwned=7>.jsonl"
    path = write_records(folder / name, rows)
    floor = NoiseFloor(64, 32_000, 0.0, 0.05, 0.05, 0.4, {"token": 0.997, "sequence": 0.2, "geometric": 0.99})
    noise_file(path).write_text(json.dumps({"version": 1, "floor": floor.as_dict()}))
    change = {"estimate": 0.25, "low": 0.125, "high": 0.5}
    card = {
        "name": "outputs/<b>lora</b>",
        "text": {"before": 2.0, "after": 2.25, "difference": change},
        "tasks": [{"name": "instructions", "a": 0.5, "b": 0.75, "difference": change}],
        "divergence": {"k3": change},
        "in_words": ["General text: worse than before."],
    }
    scorecard = folder / "scorecard.json"
    scorecard.write_text(json.dumps({"after": [card]}))
    page = folder / "report.html"
    options = ["--tokenizer", tokenizer_folder, "--trainer-state", state, "--scorecard", scorecard]
    result = CliRunner().invoke(main, ["report", str(path), "-o", str(page), *map(str, options)])
    assert result.exit_code == 0, result.output
    return page


def open_page(browser, page, width=1280, scheme="light"):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())
    until(
        browser,
        "return document.querySelectorAll('.chart svg').length > 0 && document.querySelector('footer') !== null",
    )


def until(browser, script, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := browser.execute_script(script)):
        assert time.monotonic() < deadline, f"never true: {script}"
        time.sleep(0.05)
    return value


def find(browser, selector):
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.CSS_SELECTOR, selector)


def choose(browser, select, value):
    browser.execute_script(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];s.dispatchEvent(new Event('change'));",
        select,
        value,
    )


def search(browser, text, found):
    field = find(browser, "#search")[0]
    field.clear()
    field.send_keys(text)
    until(browser, f"return document.getElementById('found').textContent === {json.dumps(found)}")


def test_it_opens_from_disk_without_an_error_or_a_request(browser, report):
    browser.get_log("browser"), browser.get_log("performance")
    open_page(browser, report)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert requested <= {report.as_uri()}
    assert [link.text for link in find(browser, "nav a")] == [
        "Overview",
        "Findings",
        "Charts",
        "Figures",
        "Training",
        "Forgetting",
        "Rows",
    ]


def test_hostile_rows_show_as_text_and_run_nothing(browser, report):
    open_page(browser, report)
    scripts = len(find(browser, "script"))
    search(browser, "hostile", f"{len(HOSTILE)} rows")
    for button in find(browser, ".row > button"):
        button.click()
    texts = browser.execute_script("return [...document.querySelectorAll('.detail .text')].map((t) => t.textContent)")
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[5]):
        assert text in texts
    assert browser.execute_script("return window.pwned") is None
    assert find(browser, "main img, main iframe, #list script") == []
    assert len(find(browser, "script")) == scripts
    assert find(browser, "h1")[0].text == "<img src=x onerror=window.pwned=7>.jsonl"
    # Direction changes and control characters are named instead of obeyed.
    shown = next(text for text in texts if "reversed" in text)
    assert shown == "abc U+202E reversed U+2066 isolated U+0000U+0007U+001B[31m U+200B end"
    assert max(map(len, texts)) <= 20_000
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in_anyway(browser, report):
    open_page(browser, report)
    browser.execute_script(
        "const s = document.createElement('div'); s.innerHTML = '<img src=x onerror=\"window.pwned=1\">';"
        "document.body.append(s); const t = document.createElement('script'); t.textContent = 'window.pwned=2';"
        "document.body.append(t);"
    )
    time.sleep(0.3)
    assert browser.execute_script("return window.pwned") is None
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_rows_are_filtered_sorted_searched_and_paged(browser, report):
    open_page(browser, report)
    assert find(browser, "#found")[0].text == f"{61 + len(HOSTILE)} rows"
    choose(browser, "tier", "guided")
    assert find(browser, "#found")[0].text == "21 rows"
    assert {tag.text for tag in find(browser, ".row .tier")} == {"guided"}
    choose(browser, "sort", "gap")
    gaps = [float(cell.text) for cell in find(browser, ".row .gap")]
    assert len(gaps) == 20, "a page of them"
    assert gaps == sorted(gaps, reverse=True)
    choose(browser, "sort", "closed")
    closed = [float(cell.text) for cell in find(browser, ".row .gap")]
    assert closed == sorted(closed)
    assert closed[1:] == sorted(gaps[1:])
    choose(browser, "tier", "all")
    search(browser, "number 41:", "1 row")
    assert [cell.text for cell in find(browser, ".row .what")] == ["Problem number 41: what is 41 + 1?"]
    search(browser, "no such text", "no row matches")
    search(browser, "Problem", "60 rows")
    first = find(browser, ".row .what")[0].text
    browser.execute_script("document.getElementById('next').click()")
    assert "page 2 of 3" in find(browser, ".pages")[0].text
    assert find(browser, ".row .what")[0].text != first


def test_faults_of_rows_are_flagged_and_said_when_the_row_is_open(browser, report):
    open_page(browser, report)
    browser.execute_script("document.getElementById('flagged').click()")
    search(browser, "60 + 1", "1 row")
    assert "leak" in [flag.text for flag in find(browser, ".row .what .flag")]
    browser.execute_script("document.querySelector('.row button').click()")
    assert "leak: says 'the given solution'" in [flag.text for flag in find(browser, ".detail .flag")]


def test_style_noise_and_forgetting_are_shown(browser, report):
    open_page(browser, report)
    assert [cell.text for cell in find(browser, "#style tbody th")] == ["self", "guided", "expert"]
    assert find(browser, "#noise")[0].text.startswith("Noise alone, before any training: ESS/N 0.997 (token), 0.200")
    titles = [title.text for title in find(browser, "#findings b")]
    assert "Weights at level sequence are below their noise floor" in titles
    assert [title.text for title in find(browser, "#forgetting h3")] == ["outputs/<b>lora</b>"]
    first = [cell.text for cell in find(browser, "#forgetting tbody tr:first-child td")]
    assert first[:2] == ["2.000", "2.250"]
    assert first[2].startswith("+0.250")
    assert find(browser, "#forgetting p")[0].text == "General text: worse than before."


def test_an_open_row_has_its_tokens_coloured_by_log_weight(browser, report):
    open_page(browser, report)
    search(browser, "number 1:", "1 row")
    find(browser, ".row > button")[0].click()
    sides = browser.execute_script(
        "return [...document.querySelectorAll('.pair > div')].map((side) => [...side.querySelectorAll('.tok')]"
        ".map((t) => [t.textContent, getComputedStyle(t).backgroundColor]))"
    )
    assert ["".join(text for text, _ in side) for side in sides] == [
        "We have 1 + 1 = 2, so the answer is 2.",
        "Adding one to 1 gives 2.",
    ]
    assert len({color for side in sides for _, color in side}) > 5
    choose(browser, "color", "ratio")
    find(browser, ".row > button")[0].click()
    ratio = browser.execute_script(
        "return [...document.querySelectorAll('.pair > div:last-child .tok')]"
        ".map((t) => getComputedStyle(t).backgroundColor)"
    )
    assert ratio != [color for _, color in sides[1]]
    # The pointer over a token says its numbers.
    browser.execute_script(
        "document.querySelector('.tok').dispatchEvent(new PointerEvent('pointermove', {clientX: 50, clientY: 50}))"
    )
    assert find(browser, "#tip")[0].text.startswith("log π ")


def test_charts_and_training_curves_are_drawn(browser, report):
    open_page(browser, report)
    labels = browser.execute_script(
        "return [...document.querySelectorAll('.chart svg')].map((s) => s.getAttribute('aria-label'))"
    )
    assert len(labels) == len(set(labels)) == 11
    assert "Effective sample size by step" in labels
    paths = browser.execute_script(
        "return [...document.querySelectorAll('.chart path')].map((p) => p.getAttribute('d'))"
        ".filter((d) => /NaN|undefined/.test(d) || d.length < 20)"
    )
    assert paths == []
    expert = next(chip for chip in find(browser, ".chip") if chip.text == "expert")
    expert.click()
    assert expert.get_attribute("aria-pressed") == "true"


CONTRASTS = """
    const style = getComputedStyle(document.documentElement);
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number).slice(0, 3);
    const resolve = (name) => {
      const probe = document.createElement("i");
      probe.style.color = `var(${name})`;
      document.body.append(probe);
      const found = rgb(getComputedStyle(probe).color);
      probe.remove();
      return found;
    };
    const luminance = (color) => {
      const [r, g, b] = color.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (a, b) => {
      const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
      return (high + 0.05) / (low + 0.05);
    };
    const found = {};
    for (const name of ["--text", "--muted", "--self", "--guided", "--expert", "--chosen", "--bad", "--warn", "--good"])
      found[name] = contrast(resolve(name), resolve("--card"));
    for (const [name, alpha] of [["--hot", 0.8], ["--up", 0.75], ["--down", 0.75]]) {
      const shade = rgb(style.getPropertyValue(name)), under = resolve("--bg");
      found[`text on ${name}`] = contrast(resolve("--text"), shade.map((v, i) => alpha * v + (1 - alpha) * under[i]));
    }
    return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_legible(browser, report, scheme):
    open_page(browser, report, scheme=scheme)
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) == 12
    # WCAG 2.2, 1.4.3: 4.5 to 1 for text, on the strongest token colours too.
    assert {name: ratio for name, ratio in contrasts.items() if not ratio >= 4.5} == {}


def test_the_button_overrides_the_systems_theme(browser, report):
    open_page(browser, report, scheme="dark")
    background = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        button = find(browser, "#theme")[0]
        seen[button.text] = browser.execute_script(background)
        button.click()
    assert list(seen) == ["Theme: auto", "Theme: light", "Theme: dark"]
    assert seen["Theme: auto"] == seen["Theme: dark"] != seen["Theme: light"]


def test_a_phone_needs_no_sideways_scrolling(browser, report):
    open_page(browser, report, width=390)
    find(browser, ".row > button")[0].click()
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert (
        browser.execute_script("return getComputedStyle(document.querySelector('.pair')).gridTemplateColumns").count(
            " "
        )
        == 0
    )


def test_ten_thousand_rows_are_browsed(browser, tmp_path):
    rng = np.random.default_rng(1)
    pool = np.round(-rng.gamma(0.3, 1.5, size=5000), 4).tolist()
    rows = (
        make_record(
            "self",
            pool[i % 4000 : i % 4000 + 150],
            pool[i % 4000 : i % 4000 + 150],
            pool[i % 3000 : i % 3000 + 200],
            id=f"row{i}",
            problem=f"Problem {i}",
            response="A step of a solution. " * 25,
            demonstration="An expert's step. " * 40,
        )
        for i in range(10_000)
    )
    path = write_records(tmp_path / "many.jsonl", rows)
    page = tmp_path / "many.html"
    result = CliRunner().invoke(main, ["report", str(path), "-o", str(page), "--tokenizer", "none"])
    assert result.exit_code == 0, result.output
    open_page(browser, page)
    assert find(browser, "#found")[0].text == "10,000 rows"
    assert len(find(browser, ".row")) == 20
    search(browser, "problem 9876", "1 row")
    find(browser, ".row > button")[0].click()
    # Without a tokenizer, a strip of token weights that is not blank.
    inked = browser.execute_script(
        "const c = document.querySelector('.strip');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    )
    assert inked
