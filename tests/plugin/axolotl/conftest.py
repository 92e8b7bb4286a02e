"""Axolotl reports usage and asks the hub unless told not to; tests do neither."""

import os

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from axolotl.integrations.base import PluginManager

# Axolotl makes the class of its training arguments once, on import, from the plugins it knows by then.
PluginManager.get_instance().register("mindgap_axolotl.MindGapPlugin")
