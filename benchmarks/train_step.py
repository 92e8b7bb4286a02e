"""A training step with the plugin against plain SFT in the same Axolotl: time and peak memory, same rows, side by side.

Both train the same tokens of the same model for the same steps, each in a process of its own (a peak is a process's),
in turns, so that a busy machine slows both. The plugin's run carries importance weights and every metric. Run:

    python benchmarks/train_step.py            # a small Llama with Qwen's vocabulary, on whatever device there is
    python benchmarks/train_step.py --model PATH
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROWS, STEPS, WARM_UP = 16, 8, 2
VOCABULARY = 151_936
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
RECIPE: dict[str, Any] = {
    "bf16": False,
    "tf32": False,
    "attn_implementation": "sdpa",
    "optimizer": "adamw_torch",
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "dataset_num_proc": 1,
    "logging_steps": 1,
    "save_strategy": "no",
    "val_set_size": 0,
    "learning_rate": 1e-4,
    "lr_scheduler": "constant",
    "warmup_steps": 0,
    "gradient_accumulation_steps": 1,
    "num_epochs": STEPS,
    "max_steps": STEPS,
    "seed": 0,
    "dataloader_pin_memory": False,
    "pad_to_sequence_len": True,
}

# Runs Axolotl in this process, timing each step and, at the end, printing the process's peak memory.
RUNNER = """
import json, resource, sys, time
import torch
from transformers import TrainerCallback
from axolotl.core.trainers.base import AxolotlTrainer

class Clock(TrainerCallback):
    times = []
    def on_step_begin(self, *args, **kwargs):
        self.start = time.perf_counter()
    def on_step_end(self, *args, **kwargs):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        Clock.times.append(time.perf_counter() - self.start)
    def on_train_begin(self, *args, **kwargs):
        # The peak before training is the loader's.
        Clock.before = peak()

def peak():
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

build = AxolotlTrainer.__init__
def with_clock(self, *args, **kwargs):
    build(self, *args, **kwargs)
    self.add_callback(Clock)
AxolotlTrainer.__init__ = with_clock
from axolotl.cli.train import do_cli
do_cli(sys.argv.pop())
print("\\nMEASURED " + json.dumps({"times": Clock.times, "before": Clock.before, "peak": peak()}))
"""


def main() -> None:
    """Measure both and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a causal LM with a chat template")
    parser.add_argument("--rows", type=int, default=2, help="rows a step")
    parser.add_argument("--tokens", type=int, default=512, help="tokens a row, half of them trained")
    parser.add_argument("--turns", type=int, default=2, help="times each side runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = options.model or random_model(folder / "model", SMALL)
        write_data(folder, model, options.tokens)
        found: dict[str, list[dict[str, Any]]] = {"plain SFT": [], "plugin": []}
        for turn in range(options.turns):
            for name, results in found.items():
                results.append(
                    run(folder / f"{name} {turn}", recipe(name, folder, model, options.rows, options.tokens))
                )
    times = {
        name: statistics.median(t for r in results for t in r["times"][WARM_UP:]) for name, results in found.items()
    }
    peaks = {name: min(r["peak"] for r in results) / 2**30 for name, results in found.items()}
    for name in found:
        print(f"{name:10} {times[name]:8.3f} s a step   {peaks[name]:6.2f} GiB peak")
    print(
        f"{'ratio':10} {times['plugin'] / times['plain SFT']:8.3f}            "
        f"{peaks['plugin'] / peaks['plain SFT']:8.2f}"
    )


def recipe(name: str, folder: Path, model: Path, rows: int, tokens: int) -> dict[str, Any]:
    """The recipe of one side."""
    mine = name == "plugin"
    kind = "mindgap_axolotl.chat_template" if mine else "chat_template"
    return {
        **RECIPE,
        "base_model": str(model),
        "micro_batch_size": rows,
        "sequence_len": tokens,
        "datasets": [{"path": str(folder / f"{'records' if mine else 'plain'}.jsonl"), "type": kind}],
        **({"plugins": ["mindgap_axolotl.MindGapPlugin"], "mindgap": {"preset": "is"}} if mine else {}),
    }


def random_model(folder: Path, sizes: dict[str, Any]) -> Path:
    """A random Llama with a tokenizer of bytes; of ``SMALL`` sizes mostly embeddings, as Qwen's small models are."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return folder


def write_data(folder: Path, model: Path, tokens: int) -> None:
    """The same conversations as plain SFT rows and as records; half of each is the response."""
    from transformers import AutoTokenizer

    from mindgap_data.fingerprints import template_fingerprint, tokenizer_fingerprint

    tokenizer = AutoTokenizer.from_pretrained(model)
    with (folder / "plain.jsonl").open("w") as plain, (folder / "records.jsonl").open("w") as records:
        for index in range(ROWS * STEPS):
            text = "".join(chr(97 + (index * 7 + i * i) % 26) for i in range(8 * tokens))
            # Leave room for the template; bytes or words, what fits is what counts.
            share = tokenizer(text, add_special_tokens=False)["input_ids"][: tokens // 2 - 40]
            half = tokenizer.decode(share)
            messages = [{"role": "user", "content": half}, {"role": "assistant", "content": half}]
            ids = [*tokenizer(half, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            tier = ("self", "guided", "expert")[index % 3]
            record = {
                "id": str(index),
                "messages": messages,
                "tier": tier,
                "response_token_ids": ids,
                "behavior_logprobs": None if tier == "expert" else [-5.0] * len(ids),
                "policy_logprobs": [-5.0] * len(ids),
                "answer": "",
                "expert": half,
                "attempts": {},
                "provenance": {
                    "tool_version": "0",
                    "model": str(model),
                    "engine": "transformers",
                    "tokenizer": tokenizer_fingerprint(tokenizer),
                    "chat_template": template_fingerprint(tokenizer.chat_template),
                    "sampling": {"temperature": 1.0},
                    "selection": "first",
                    "verifier": "none",
                    "seed": 0,
                },
            }
            plain.write(json.dumps({"messages": messages}) + "\n")
            records.write(json.dumps(record) + "\n")


def run(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """One side, once: seconds of each step and peak bytes."""
    folder.mkdir()
    settings |= {"output_dir": str(folder / "out"), "dataset_prepared_path": str(folder / "prepared")}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(folder / "recipe.yaml")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    measured = re.search(r"^MEASURED (.*)$", done.stdout, re.MULTILINE)
    if measured is None:
        sys.exit(done.stdout[-4000:])
    result: dict[str, Any] = json.loads(measured.group(1))
    return result


if __name__ == "__main__":
    main()
