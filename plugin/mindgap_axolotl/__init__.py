"""mindgap_axolotl: the importance-weighted loss of ``mindgap_loss`` as an Axolotl plugin."""

from mindgap_axolotl.plugin import MindGapPlugin

__all__ = ["MindGapPlugin"]
