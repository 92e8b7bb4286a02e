"""Which engine a run gets, and what is refused before anything is loaded."""

from pathlib import Path

import pytest

from mindgap_data.engines import Sampling
from mindgap_data.engines.open import EngineSettings, open_engine
from mindgap_data.errors import UserError
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from tiny import save_tiny_tokenizer


def test_an_8_bit_recipe_is_refused_on_vllm_with_the_remedy(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    spec = ModelSpec(model=str(tmp_path), load_options={"load_in_8bit": True})
    with pytest.raises(UserError) as caught:
        open_engine(spec, Sampling(), EngineSettings(engine="vllm"), tokenizer=load_tokenizer(spec))
    assert caught.value.message == (
        "the recipe trains an 8-bit model, which vLLM does not quantise to; use --engine transformers"
    )
