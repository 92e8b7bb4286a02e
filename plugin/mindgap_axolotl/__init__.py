"""mindgap_axolotl: the importance-weighted loss of ``mindgap_loss`` as an Axolotl plugin."""

from typing import Any


def __getattr__(name: str) -> Any:
    # torch imports this package when it is itself imported, for mindgap_axolotl.launch: the rest must wait.
    if name == "MindGapPlugin":
        from mindgap_axolotl.plugin import MindGapPlugin

        return MindGapPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
