"""`mindgap-data probe`: what an OpenAI-compatible server can and cannot give, as a table."""

import json
from dataclasses import asdict
from importlib.util import find_spec

import click

from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.errors import UserError
from mindgap_data.policy.models import BUILTIN, ModelSpec, load_tokenizer


@click.command("probe", cls=SectionedCommand)
@click.option("--base-url", required=True, help="The server, e.g. http://localhost:8000/v1.")
@click.option("--model", default=BUILTIN, show_default=True, help="Whose tokenizer it serves: hub name or folder.")
@click.option("--served-model", help="The name it serves the model under. [default: the only one it lists]")
@click.option("--api-key", help="Key for the server. [default: $OPENAI_API_KEY for api.openai.com, none for others]")
@click.option(
    "--request-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Time limit for a request, in seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    base_url: str, model: str, served_model: str | None, api_key: str | None, request_timeout: float, as_json: bool
) -> None:
    """Show what a server can and cannot give: ids, log-probs and of what, scores, seeds, concurrency.

    Sends some two hundred short requests. `rewrite` finds out by itself what it needs of this.

    \b
    Example:
      mindgap-data probe --base-url http://localhost:8000/v1 --model Qwen/Qwen3-4B
    """
    if find_spec("openai") is None:
        raise UserError("the client is not installed; run: pip install 'mindgap[openai]'")
    from mindgap_data.engines.server.client import Server
    from mindgap_data.engines.server.survey import survey

    tokenizer = load_tokenizer(ModelSpec(model=model))
    server = Server(
        base_url, served_model or model, api_key=api_key, concurrency=None, timeout=request_timeout, retries=2
    )
    try:
        if served_model is None:
            listed = server.models()
            server.model = listed[0].id if len(listed) == 1 else model
        lines = list(survey(server, tokenizer))
    finally:
        server.close()
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=2, ensure_ascii=False))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in (server.base_url, server.model, "for a run"):
        table.add_column(column)
    for line in lines:
        table.add_row(line.what, line.answer, line.means)
    Console(width=None if Console().is_terminal else 140).print(table)
