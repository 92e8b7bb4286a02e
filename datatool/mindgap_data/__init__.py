"""mindgap-data: rewrite expert demonstrations onto the model's own policy, with behaviour log-probs."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mindgap")
except PackageNotFoundError:  # a source tree on PYTHONPATH, not installed
    __version__ = "0.0.0"
