"""The page is one file in which text stays text and nothing is fetched."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from mindgap_data.report.page import ROWS_PER_BLOCK, embed, page_parts

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "]]><img src=x onerror=alert(1)>",
    "\u2028\u2029\x00\x1b[31m",
    "&lt;b&gt; &amp;",
]


class Elements(HTMLParser):
    """Start tags and the text of each script, as a browser splits them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.title = [], [], ""
        self._in = None

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        elif self._in == "title":
            self.title += data


def parse(title="t", summary=None, rows=()):
    text = "".join(page_parts(title, summary or {}, list(rows)))
    elements = Elements()
    elements.feed(text)
    return text, elements


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_back_as_it_was_and_opens_no_element(text):
    _, plain = parse(summary={"file": "x"}, rows=[{"q": "x"}])
    _, hostile = parse(title=text, summary={"file": text}, rows=[{"q": text}])
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert json.loads(hostile.scripts[0][1]) == {"file": text}
    assert json.loads(hostile.scripts[1][1]) == [{"q": text}]
    if "\x00" not in text:
        assert hostile.title == text


def test_embedded_json_has_no_angle_bracket():
    assert embed({"a": "<x>"}) == '{"a":"\\u003cx>"}'


def test_a_number_that_is_not_finite_is_refused_rather_than_written():
    with pytest.raises(ValueError, match="Out of range"):
        embed({"a": float("nan")})


def test_rows_are_embedded_in_blocks():
    _, elements = parse(rows=[{"id": i} for i in range(ROWS_PER_BLOCK + 1)])
    blocks = [json.loads(text) for attrs, text in elements.scripts if attrs.get("class") == "rows"]
    assert [len(block) for block in blocks] == [ROWS_PER_BLOCK, 1]


def test_the_policy_allows_exactly_the_pages_own_script_and_style():
    text, elements = parse()
    policy = next(
        attrs["content"] for tag, attrs in elements.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    (script,) = [body for attrs, body in elements.scripts if "type" not in attrs]

    def digest(body):
        return base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_nothing_points_outside_the_file_and_nothing_parses_markup():
    text, elements = parse()
    for _, attrs in elements.tags:
        assert not {"src", "srcset", "action", "style"} & attrs.keys()
        assert not any(name.startswith("on") for name in attrs)
    urls = set(re.findall(r"https?://[^\s\"')]+", text))
    assert urls == {"http://www.w3.org/2000/svg"}
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "import(",
    ):
        assert sink not in text
