"""Puts a report's data and assets into one HTML file that opens from disk and loads nothing."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from mindgap_data.rows.writing import AtomicWriter

SCRIPTS = ("base.js", "charts.js", "overview.js", "texts.js", "rows.js", "main.js")
ROWS_PER_BLOCK = 200


def write_page(writer: AtomicWriter, title: str, summary: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write the page.

    Args:
        writer: of the .html file.
        title: shown by the browser.
        summary: what the page needs at once.
        rows: what the row browser shows; embedded in blocks that the page parses when it needs them.
    """
    for part in page_parts(title, summary, rows):
        writer.write_text(part)


def page_parts(title: str, summary: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The page's text, in parts."""
    style = _asset("page.css")
    script = "".join(_asset(name) for name in SCRIPTS)
    # Only these two run or style: text of a row that looks like markup stays text.
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head, tail = _asset("page.html").split("<!--DATA-->")
    values = {"POLICY": policy, "TITLE": escape(title), "STYLE": style}
    for name, value in values.items():
        head = head.replace(f"<!--{name}-->", value)
    yield head
    yield f'<script type="application/json" id="summary">{embed(summary)}</script>\n'
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        block = rows[start : start + ROWS_PER_BLOCK]
        yield f'<script type="application/json" class="rows">{embed(block)}</script>\n'
    yield tail.replace("<!--SCRIPT-->", script)


def embed(value: Any) -> str:
    """JSON that can stand inside a script element: with no '<' in it, nothing can end or comment the element."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("mindgap_data.report").joinpath("assets", name).read_text(encoding="utf-8")
