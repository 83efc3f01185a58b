# Everything runs in .venv, which `make install` (a part of every target that needs it) sets up.
RUN := .venv/bin
# What is compiled once need not be compiled by each of Airflow's processes.
unexport PYTHONDONTWRITEBYTECODE

# A file's tests share what is expensive to set up, so they stay together.
# In the order of their names, by which those come first that take longest.
IN_PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install wheel demo look test test-fast equality chaos own-airflow lint bench proto screenshot clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

install: ## install everything into .venv, from uv.lock
	@scripts/install
	@$(if $(filter install,$(MAKECMDGOALS)),echo "Everything is in .venv. Next: make demo or make test")

wheel: install ## build what people install into their own Airflow: dist/*.whl and dist/constraints-*.txt
	.uv/bin/uv build --quiet
	$(RUN)/python scripts/constraints

demo: install ## run the flights through a real Airflow; DAG=id runs another DAG of dags/, ONCE=1 exits with its status
	@$(RUN)/python -m airflow_provider_mlpipe.local.demo $(if $(DAG),--dag-id=$(DAG)) $(if $(filter-out 0,$(ONCE)),--once)

look: install ## start the Postgres of what `make demo` made, for `airflow mlpipe …` in another shell; Ctrl-C ends it
	@$(RUN)/python -m airflow_provider_mlpipe.local.look

test: lint ## all checks and all tests
	$(RUN)/pytest $(IN_PARALLEL)

test-fast: install ## the unit tests that need no TensorFlow: under a minute
	$(RUN)/pytest $(IN_PARALLEL) tests/unit -m "not heavy and not airflow"

equality: install ## on 50 random examples: components against TFDV, TFT and TFMA, runs with a plan against runs without
	MLPIPE_EXAMPLES=$(or $(MLPIPE_EXAMPLES),50) $(RUN)/pytest $(IN_PARALLEL) -k "random or any_columns" \
		tests/executors tests/integration/planning

chaos: install ## kill 200 of Airflow's and Postgres' processes, tasks and executors while runs come and go
	MLPIPE_CHAOS_KILLS=$(or $(MLPIPE_CHAOS_KILLS),200) \
		MLPIPE_CHAOS_RUNS=$(or $(MLPIPE_CHAOS_RUNS),16) $(RUN)/pytest -s tests/chaos

own-airflow: install ## do all that README's "In your own Airflow" says: with pip, and a run of `penguins` in it
	$(RUN)/pytest -s tests/acceptance/own_airflow.py

lint: install ## ruff and mypy
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy

bench: install ## every benchmark, each on all rows, as tables
	@for benchmark in benchmarks/bench_*.py; do echo "== $$benchmark"; $(RUN)/python "$$benchmark" || exit 1; done

proto: install ## generate the protobuf module (what grpcio-tools 1.62.3 makes loads under protobuf 4.25 and 6.33)
	.uv/bin/uv run --no-project --python 3.11 --with grpcio-tools==1.62.3 --with 'setuptools<81' \
		python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. airflow_provider_mlpipe/proto/mlpipe.proto

screenshot: install ## take the README's picture of the newest run of `make demo`; needs Chromium
	$(RUN)/python scripts/screenshot

clean: ## remove what was installed, cached and kept
	rm -rf .venv .uv .state .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
