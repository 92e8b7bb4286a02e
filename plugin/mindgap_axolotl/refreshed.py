"""The training set of which a worker draws rows again: each row is looked up in what has been published last."""

from dataclasses import replace
from typing import Any

import numpy as np
from axolotl.utils.logging import get_logger
from datasets import Dataset

from mindgap_axolotl.collators import ROW_ID
from mindgap_axolotl.encode import RowEncoder
from mindgap_data.errors import UserError
from mindgap_data.policy.models import adapter_fingerprint
from mindgap_data.refresh.folder import Batch, RefreshFolder

LOG = get_logger(__name__)


class RefreshedRows:
    """A map-style data set over the prepared one, whose rows change as :meth:`take_in` finds newer ones.

    Attributes:
        ids: of the rewritten rows, each once, in the order of the data set.
        column_names: of a prepared row, for Axolotl.
    """

    def __init__(self, rows: Dataset, folder: RefreshFolder, encoder: RowEncoder) -> None:
        """Start with ``rows`` as they were prepared; ``encoder`` is that of the recipe's strategy."""
        # Of a length that would not be the new row's. Without packing nothing reads them.
        self._rows = rows.remove_columns([name for name in ("length", "position_ids") if name in rows.column_names])
        self.column_names = list(self._rows.column_names)
        self.ids: tuple[str, ...] = tuple(dict.fromkeys(filter(None, rows[ROW_ID])))
        self._folder, self._encoder = folder, encoder
        self._newer: dict[str, dict[str, Any]] = {}
        self._tried = dict.fromkeys(self.ids, 0)
        self._taken: set[Batch] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self._rows[index]
        return self._newer.get(row[ROW_ID], row)

    @property
    def last_tried(self) -> int:
        """The step by whose adapter, or a later one, every row has been tried; 0 for the policy at the start."""
        return min(self._tried.values(), default=0)

    def take_in(self) -> int:
        """Take the batches that have been published since; returns how many."""
        new = [batch for batch in self._folder.batches() if batch not in self._taken]
        for batch in new:
            self._taken.add(batch)
            try:
                taken, kept = self._take(batch)
            except UserError as error:
                LOG.warning(f"mindgap.refresh: {error.message}; its rows are not taken in")
                continue
            keeping = f"; {kept} keep what they have" if kept else ""
            LOG.info(f"mindgap.refresh: {taken} rows drawn by the adapter of step {batch.step} taken in{keeping}")
        return len(new)

    def _take(self, batch: Batch) -> tuple[int, int]:
        """Replace the rows of one batch; returns how many were, and how many keep what they have."""
        adapter, file = self._folder.adapter(batch.step), self._folder.files(batch)
        run = replace(self._encoder.run, path=str(file), adapter=str(adapter), rows_in_file_order=True)
        encoder, weights = replace(self._encoder, run=run), adapter_fingerprint(str(adapter))
        taken, failed = 0, [one for one in self._folder.failed(batch) if one in self._tried]
        for line, row in self._folder.records(batch):
            try:
                columns = _encoded(row, line, encoder, batch, weights)
            except UserError as error:
                LOG.warning(f"mindgap.refresh: {error.message}; the row keeps what it has")
                failed.append(str(row.get("id")))
                continue
            if columns[ROW_ID] in self._tried:
                self._newer[columns[ROW_ID]] = columns
                self._tried[columns[ROW_ID]] = batch.step
                taken += 1
        self._tried.update((one, batch.step) for one in failed if one in self._tried)
        return taken, len(failed)


def _encoded(row: dict[str, Any], line: int, encoder: RowEncoder, batch: Batch, weights: str | None) -> dict[str, Any]:
    """The columns of a published record, with the step it was drawn at.

    Raises:
        UserError: it is not one that the adapter of this step drew, or cannot be trained on.
    """
    where = f"{encoder.run.path}:{line}"
    provenance = row.get("provenance")
    drawn = (provenance.get("training_step"), provenance.get("adapter_weights")) if isinstance(provenance, dict) else ()
    if drawn != (batch.step, weights):
        raise UserError(f"{where}: not drawn by {encoder.run.adapter}, or the adapter has changed since")
    columns = encoder(row, line - 1)
    length = len(columns["input_ids"])
    if length > encoder.run.sequence_len:
        raise UserError(f"{where}: {length} tokens, and sequence_len is {encoder.run.sequence_len}")
    columns["drawn_at"] = np.full(length, batch.step, dtype=np.int64)
    return columns
