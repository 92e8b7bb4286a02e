"""Rows: where they come from, their shapes, and the files they are written to."""
