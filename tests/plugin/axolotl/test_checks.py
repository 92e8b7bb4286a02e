"""What cannot work is refused by name before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from mindgap_axolotl import checks
from mindgap_data.errors import UserError
from mindgap_loss import cce

GOOD: dict[str, Any] = {"datasets": [{"path": "out.jsonl", "type": "mindgap_axolotl.chat_template"}]}


ZERO_3 = (
    "deepspeed: ZeRO-3 does not work with the mindgap plugin: the output head is in parts when the loss needs it; "
    "use FSDP2 or ZeRO-2"
)


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as error:
        checks.check_config({**GOOD, **changes})
    return error.value.message


def test_a_good_recipe_passes() -> None:
    checks.check_config(GOOD)
    checks.check_config({**GOOD, "mindgap": {"preset": "paper", "alarms": {"ess_floor": 0, "stop": True}}})
    checks.check_config({**GOOD, "context_parallel_size": 1, "rl": None, "streaming": False})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"preset": "ppo"}, "mindgap.preset: input should be 'is', 'paper', 'sft', 'iw-sft', 'asft' or 'eaft'"),
        ({"clipmax": 3}, "mindgap.clipmax: extra inputs are not permitted"),
        ({"clip_max": 0.5}, "mindgap.clip_max: input should be greater than or equal to 1"),
        ({"kl_coef": -1}, "mindgap.kl_coef: input should be greater than or equal to 0"),
        ({"level": "word"}, "mindgap.level: input should be 'token', 'sequence' or 'geometric'"),
        ({"alarms": {"ess_floor": 2}}, "mindgap.alarms.ess_floor: input should be less than or equal to 1"),
        ({"alarms": {"nll": 1}}, "mindgap.alarms.nll: extra inputs are not permitted"),
        (
            {"tier_weights": {"teacher": 1}},
            "mindgap.tier_weights.teacher.[key]: input should be 'self', 'guided' or 'expert'",
        ),
        (
            {"preset": "sft", "level": "sequence"},
            "mindgap: preset: sft and level: sequence contradict each other (preset sft means level: token); drop one "
            "of them, or use preset: is",
        ),
    ],
)
def test_wrong_options(block: dict[str, Any], message: str) -> None:
    assert refusal(mindgap=block) == message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "rl",
            "dpo",
            "the plugin replaces the loss of supervised fine-tuning; preference and RL trainers have their own",
        ),
        (
            "rl",
            "grpo",
            "the plugin replaces the loss of supervised fine-tuning; preference and RL trainers have their own",
        ),
        ("reward_model", True, "a reward model has no next-token loss to weigh"),
        ("orpo_alpha", 0.1, "ORPO brings its own loss"),
        ("use_dft", True, "Dynamic Fine-Tuning is mindgap: {preset: paper}; Axolotl's needs full logits"),
        ("use_eaft", True, "Entropy-Adaptive Fine-Tuning is mindgap: {preset: eaft}; Axolotl's needs full logits"),
        (
            "qat",
            {"weight_dtype": "int4"},
            "quantisation-aware training replaces the output head by one that the loss would by-pass",
        ),
        ("trainer_cls", "my.Trainer", "the plugin brings its own trainer"),
        ("streaming", True, "streaming drops the log-prob columns"),
        ("pretraining_dataset", "x", "streaming drops the log-prob columns"),
        ("skip_prepare_dataset", True, "the rows must be encoded before training"),
        ("train_on_inputs", True, "only the recorded response_token_ids are trained"),
        ("batch_flattening", True, "its collator drops the log-prob columns; use sample_packing"),
        ("processor_type", "AutoProcessor", "images are not supported"),
    ],
)
def test_refused_options(name: str, value: Any, reason: str) -> None:
    message = f"{name}: {value} does not work with the mindgap plugin: {reason}; remove it"
    assert refusal(**{name: value}) == message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("context_parallel_size", "a rank would see parts of a response"),
        ("sequence_parallel_degree", "a rank would see parts of a response"),
        ("tensor_parallel_size", "a rank would hold a part of the vocabulary"),
    ],
)
def test_splitting_parallelism(name: str, reason: str) -> None:
    assert refusal(**{name: 2}) == f"{name}: 2 does not work with the mindgap plugin: {reason}; set it to 1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"deepspeed": "zero2.json", "mindgap": {"normalize": "batch"}},
            "mindgap.normalize: batch needs the gradients between backward and step, which DeepSpeed keeps to itself; "
            "use normalize: none, or FSDP",
        ),
        (
            {"optimizer": "galore_adamw_layerwise", "mindgap": {"normalize": "batch"}},
            "mindgap.normalize: batch does not work with optimizer: galore_adamw_layerwise, which steps during the "
            "backward pass; use normalize: none, or another optimizer",
        ),
        (
            {"mindgap": {"alarms": {"noise": "missing.json"}}},
            "missing.json: cannot be read: No such file or directory",
        ),
        (
            {"excess_length_strategy": "truncate", "eval_sequence_len": 10},
            "excess_length_strategy: truncate and eval_sequence_len would cut a row twice; drop eval_sequence_len",
        ),
        (
            {"context_parallel": {"size": 2}},
            "context_parallel.size does not work with the mindgap plugin: a rank would see parts of a response; "
            "remove context_parallel",
        ),
        (
            {"balance_labels": True},
            "balance_labels without sample_packing works with Axolotl's own collator only, and mindgap brings "
            "another; set sample_packing: true, or remove balance_labels",
        ),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, ZERO_3),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}, "adapter": "lora"}, ZERO_3),
        (
            {"datasets": [*GOOD["datasets"], {"path": "p.jsonl", "type": "alpaca"}], "mindgap": {"kl_coef": 0.1}},
            "p.jsonl: rows of type: alpaca train in the expert tier, without log-probs: policy_logprobs is missing, "
            "and kl_coef: 0.1 needs them in every row; set kl_coef: 0; or give the dataset type: "
            "mindgap_axolotl.chat_template",
        ),
        (
            {"test_datasets": [{"path": "p.jsonl"}], "mindgap": {"expert_behavior": "reference"}},
            "p.jsonl: rows of type: None train in the expert tier, without log-probs: policy_logprobs is missing in "
            "an expert row, and expert_behavior: reference needs them; use expert_behavior: dft or unit; or give the "
            "dataset type: mindgap_axolotl.chat_template",
        ),
        (
            {"datasets": [{"path": "out.jsonl", "type": "chat_template"}]},
            "no dataset of the recipe has type: mindgap_axolotl.chat_template, so no row would bring its log-probs",
        ),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    assert refusal(**changes) == message


@pytest.mark.parametrize("found", ["0.19.0", "0.21.1.dev0"])
def test_supported_versions(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda _: found)
    checks.check_version()


@pytest.mark.parametrize("found", ["0.18.2", "0.20.0", "0.22.0", "1.0.0"])
def test_other_versions_are_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda _: found)
    with pytest.raises(UserError) as error:
        checks.check_version()
    assert error.value.message == (
        f"axolotl {found} is not supported; this mindgap is tested with axolotl 0.19 and 0.21: run pip install "
        "'axolotl==0.21.*' (Python 3.11: 'axolotl==0.19.*')"
    )


def test_zero_3_in_a_file_is_seen_and_zero_2_passes(tmp_path: Path) -> None:
    (tmp_path / "zero3.json").write_text('{"zero_optimization": {"stage": 3}}')
    assert refusal(deepspeed=str(tmp_path / "zero3.json")) == ZERO_3
    (tmp_path / "broken.json").write_text('{"zero_optimization": }')
    assert refusal(deepspeed=str(tmp_path / "broken.json")) == (
        f"{tmp_path / 'broken.json'}: not a JSON file: Expecting value: line 1 column 23 (char 22)"
    )
    checks.check_config({**GOOD, "deepspeed": {"zero_optimization": {"stage": 2}}})


def test_cce_is_refused_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"mindgap": {"kernel": "cce"}}
    monkeypatch.setattr(cce, "find_spec", lambda name: None)
    assert refusal(**block).startswith("kernel: cce needs the package cut_cross_entropy; use kernel: torch, or run: ")
    monkeypatch.setattr(cce, "find_spec", lambda name: object())
    assert refusal(**block, adapter="lora", lora_target_modules=["lm_head"]) == (
        "kernel: cce does not work with lm_head in lora_target_modules; take it out, or use kernel: torch"
    )
    checks.check_config({**GOOD, **block, "adapter": "lora", "lora_target_linear": True})


def test_packed_labels_may_be_balanced_and_other_datasets_join_where_no_log_prob_is_needed() -> None:
    checks.check_config({**GOOD, "balance_labels": True, "sample_packing": True})
    checks.check_config({**GOOD, "datasets": [*GOOD["datasets"], {"path": "p.jsonl", "type": "alpaca"}]})


def test_a_kernel_without_effect_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(checks.LOG, "info", said.append)
    checks.say_what_is_bypassed({"cut_cross_entropy": True, "chunked_cross_entropy": False})
    assert said == [
        "cut_cross_entropy has no effect: mindgap computes its loss from hidden states, without full logits"
    ]


def test_the_validated_recipe_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axolotl's validation fills in options that were not in the recipe when plugins registered."""
    from mindgap_axolotl.plugin import MindGapPlugin

    for hook in (lambda cfg: MindGapPlugin().load_datasets(cfg), lambda cfg: MindGapPlugin().pre_model_load(cfg)):
        with pytest.raises(UserError) as error:
            hook({**GOOD, "context_parallel_size": 2})
        assert error.value.message == (
            "context_parallel_size: 2 does not work with the mindgap plugin: a rank would see parts of a response; set "
            "it to 1"
        )


def test_the_package_accepts_what_is_tested() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    (requirement,) = map(Requirement, project["optional-dependencies"]["axolotl"])
    accepted = [f"0.{minor}" for minor in range(15, 30) if requirement.specifier.contains(f"0.{minor}.5")]
    assert tuple(accepted) == checks.AXOLOTL_VERSIONS


def test_another_plugin_that_replaces_the_trainer() -> None:
    from axolotl.integrations.kd import KDPlugin
    from axolotl.integrations.liger import LigerPlugin
    from axolotl.utils.dict import DictDefault

    own, name = object(), "axolotl.integrations.kd.KDPlugin"
    cfg = DictDefault({"plugins": [name, "axolotl.integrations.liger.LigerPlugin"], "kd_trainer": True})
    plugins = {name: KDPlugin(), "axolotl.integrations.liger.LigerPlugin": LigerPlugin(), "mindgap": own}
    with pytest.raises(UserError) as error:
        checks.check_plugins(cfg, plugins, own)
    assert error.value.message == (
        "plugins: axolotl.integrations.kd.KDPlugin replaces the trainer or the collator, and so does mindgap; keep one"
    )
    checks.check_plugins(DictDefault({**cfg, "kd_trainer": None}), plugins, own)
    # A plugin of an earlier recipe in the same process has no say.
    checks.check_plugins(DictDefault({**cfg, "plugins": []}), plugins, own)
