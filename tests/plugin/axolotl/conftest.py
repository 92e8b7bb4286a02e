"""Axolotl reports usage and asks the hub unless told not to; tests do neither. And the plugin is registered first.

Axolotl builds its class of training arguments from the plugins known when that module is first imported.
"""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from axolotl.integrations.base import PluginManager

PluginManager.get_instance().register("mindgap_axolotl.MindGapPlugin")

ENVIRON = os.environ


@pytest.fixture(autouse=True)
def own_environ() -> Iterator[None]:
    """`Dataset.map` of datasets leaves a copy in the place of os.environ, which other modules hold on to."""
    yield
    os.environ = ENVIRON  # noqa: B003 - the very object, not its content
