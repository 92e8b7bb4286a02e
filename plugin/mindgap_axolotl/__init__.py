"""mindgap_axolotl: an importance-weighted loss for rewritten data, as an Axolotl plugin and as torch functions."""

from typing import Any


def __getattr__(name: str) -> Any:
    # The loss is for use without Axolotl too, so the plugin is imported only when Axolotl asks for it.
    if name == "MindGapPlugin":
        from mindgap_axolotl.plugin import MindGapPlugin

        return MindGapPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
