"""Axolotl reports usage and asks the hub unless told not to; tests do neither."""

import os

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
