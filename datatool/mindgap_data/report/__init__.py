"""The gap as one self-contained HTML page: figures, findings, charts and a browser of rows."""
