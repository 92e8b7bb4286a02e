"""`mindgap-data push`: a rewritten file and its card onto the Hugging Face hub."""

import re
from pathlib import Path

import click

from mindgap_data.errors import UserError, one_line

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@click.command("push")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--to", "repository", required=True, metavar="USER/NAME", help="The dataset repository; made where there is none."
)
@click.option(
    "--license",
    "license_id",
    metavar="ID",
    help="Licence of the data the rows were made from, as the hub names it: apache-2.0, mit, cc-by-4.0, other, …",
)
@click.option("--public", is_flag=True, help="Let everybody read a new repository; needs --license.")
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Use this card instead of the one made from the file.",
)
@click.option("--overwrite", is_flag=True, help="Replace other contents of the file or the card on the hub.")
@click.option("--dry-run", is_flag=True, help="Print the card; push nothing.")
def command(
    file: Path, repository: str, license_id: str | None, public: bool, card: Path | None, overwrite: bool, dry_run: bool
) -> None:
    """Put a rewritten FILE on the Hugging Face hub, with a dataset card that says what it is.

    Every row is checked first, and the file goes up byte for byte. The card has the tiers, the pass rate, the gap, how
    the rows were made and their licence. A new repository is private unless --public is given.

    \b
    Example:
      mindgap-data push out.jsonl --to me/gsm8k-rewritten --license mit
      mindgap-data push out.jsonl --to me/gsm8k-rewritten --license mit --dry-run
    """
    from mindgap_data.rows.hub import check_repository, data_name, push_file

    check_repository(repository)
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        raise UserError(
            f"--license {one_line(license_id, 60)}: give the hub's name for it, such as apache-2.0 or other"
        )
    if public and license_id is None:
        raise UserError("--public: say with --license under which licence the source of these rows is")
    text = _card(file, data_name(file), repository, license_id) if card is None else _own_card(file, card)
    if dry_run:
        click.echo(text, nl=False)
        return
    if card is None and license_id is None:
        click.echo("Note: the card says that the licence is unknown; name that of the source with --license", err=True)
    address = push_file(file, text, repository, private=not public, overwrite=overwrite)
    click.echo(f"{address}: {data_name(file)} and its card")


def _card(file: Path, name: str, repository: str, license_id: str | None) -> str:
    from mindgap_data.report.card import dataset_card

    return dataset_card(file, name, repository, license_id)


def _own_card(file: Path, card: Path) -> str:
    """The user's card, once the rows are known to be good."""
    from mindgap_data.rows.records import read_records

    for _ in read_records(file):
        pass
    try:
        return card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{card}: cannot be read: {one_line(getattr(error, 'strerror', None) or error)}") from error
