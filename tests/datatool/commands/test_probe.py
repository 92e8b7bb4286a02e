"""`mindgap-data probe` on servers that give all, little and nothing."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from transformers import AutoTokenizer

from mindgap_data.commands import main
from mindgap_data.policy.chat import ChatTokenizer
from misbehaving import Answer, completion, llama_completion, serving
from tiny import save_tiny_tokenizer


def probed(answer: Any, tmp_path: Path, listed: Any = None) -> dict[str, tuple[str, str]]:
    save_tiny_tokenizer(tmp_path)
    with serving(answer, listed) as url:
        result = CliRunner().invoke(main, ["probe", "--base-url", url, "--model", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    return {line["what"]: (line["answer"], line["means"]) for line in json.loads(result.stdout)}


def test_llama_cpp_with_a_switch_for_the_processed_log_probs(tmp_path: Path) -> None:
    """A stand-in that draws by seed, obeys top_k and min_p alone, and shows every setting after its sampling chain."""
    save_tiny_tokenizer(tmp_path)
    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(tmp_path), "tiny")
    ids = list(tokenizer.response_ids("ok"))

    def llama(body: dict[str, Any]) -> Answer:
        if "logit_bias" in body:
            return llama_completion([body["logit_bias"][0][0]], "")
        plain = (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (1, 1, -1, 0)
        plain = plain and body["repetition_penalty"] == 1
        sure = body["top_k"] == 1 or body["min_p"] > 0.5
        logprob = -0.2 if body.get("post_sampling_probs") and not plain else -0.5
        text = "ok" if sure else f"ok{body['seed'] % 4}"
        return llama_completion(ids, text, logprob=logprob, finish="stop")

    found = probed(llama, tmp_path, {"object": "list", "data": [{"id": "any", "meta": {"n_ctx": 100}}]})
    assert found["token ids"] == ("exact", "as the server gives them")
    assert found["end of turn"] == ("with its log-prob", "")
    assert found["prompt log-probs"] == ("yes", "one request for each token")
    assert found["log-probs by themselves"][0] == "raw"
    assert found["log-probs with post_sampling_probs"][0] == "processed"
    assert found["settings obeyed"] == ("top_k, min_p", "not obeyed: temperature, top_p, repetition_penalty")
    assert found["seed"][0] == "honoured"
    assert found["context"] == ("100 tokens", "")


def test_server_without_log_probs_has_one_line(tmp_path: Path) -> None:
    assert probed(lambda body: completion([]), tmp_path) == {
        "draws with log-probs": (
            "no",
            "returns no log-probs from /completions; use a server that does, such as vLLM's, or --engine transformers",
        )
    }
