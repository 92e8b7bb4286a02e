"""Axolotl reports usage and asks the hub unless told not to; tests do neither. And the plugin is registered first.

Axolotl builds its class of training arguments from the plugins known when that module is first imported.
"""

import os

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from axolotl.integrations.base import PluginManager

PluginManager.get_instance().register("mindgap_axolotl.MindGapPlugin")
