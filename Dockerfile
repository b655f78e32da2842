# Four images from one file; docs/guides/images.md says how they are built, run and stopped.
#   make image                           the graph on CPUs: target serve
#   make image TARGET=serve-gpu          the graph on CUDA cards
#   make image TARGET=train              the pipeline
#   make image TARGET=mlflow             the registry's server, for a cluster
#
# docker run --init -p 8000:8000 --shm-size 2g --ulimit nofile=20000:20000 sentigraph

# Any image with Python 3.11 and ca-certificates. CUDA and cuDNN come with pip's packages, so a
# GPU node needs the driver and NVIDIA's container runtime, and the base needs nothing of them.
# A release names it by digest: docs/guides/images.md.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src
# Only the dependencies, so that a change of our code does not install them again, and no file but
# those whose SHA-256 stands there. With the extra for batch jobs in PostgreSQL.
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes --requirement requirements/serve.txt

FROM dependencies AS package
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY console console
COPY serverless serverless
COPY registry registry
COPY deployments deployments
COPY pipelines pipelines
COPY operations operations
COPY cli cli
COPY monitoring monitoring
COPY models models
COPY serve_config.yaml serve_config.yaml
RUN pip install --no-cache-dir --no-deps .

# onnxruntime-gpu stands in the folder of onnxruntime: both together would be a mixture.
FROM package AS package-gpu
RUN pip uninstall --yes onnxruntime \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/gpu.txt

FROM package AS package-train
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/train.txt

FROM ${BASE} AS package-mlflow
ENV PATH=/venv/bin:$PATH
RUN python -m venv /venv
WORKDIR /src
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes --requirement requirements/mlflow.txt

FROM ${BASE} AS mlflow
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sentigraph-mlflow" \
      org.opencontainers.image.description="MLflow server with PostgreSQL and object storage" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/venv/bin:$PATH \
    MLFLOW_DISABLE_TELEMETRY=true
RUN useradd --uid 10001 --user-group --create-home sentigraph \
    && install --directory --owner sentigraph --group sentigraph /mlflow
COPY --from=package-mlflow /venv /venv
USER 10001:10001
EXPOSE 5000
ENTRYPOINT ["mlflow", "server"]
CMD ["--host", "0.0.0.0"]

# What the others share: the code in /app, where Ray's workers find it by PYTHONPATH too.
FROM ${BASE} AS application
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sentigraph" \
      org.opencontainers.image.description="Text classification as one Ray Serve deployment graph" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    SENTIGRAPH_HOME=/app
RUN useradd --uid 10001 --user-group --create-home sentigraph \
    && install --directory --owner sentigraph --group sentigraph /app /app/.sentigraph
WORKDIR /app
COPY configs configs
COPY console console
COPY serverless serverless
COPY registry registry
COPY deployments deployments
COPY pipelines pipelines
COPY operations operations
COPY cli cli
COPY monitoring monitoring
COPY models models

FROM application AS train
COPY --from=package-train /venv /venv
USER 10001:10001
ENTRYPOINT ["python", "-m", "cli"]
CMD ["--help"]

FROM application AS graph
COPY serve_config.yaml serve_config.yaml
# The file listens on the loopback, which nobody outside of a container could reach.
RUN sed --in-place 's/^  host: 127\.0\.0\.1$/  host: 0.0.0.0/' serve_config.yaml \
    && grep --quiet '^  host: 0\.0\.0\.0$' serve_config.yaml
# HAProxy and throughput mode: both or neither, one alone serves slower than the default.
# The front stays open: operations/front/settings.py has the reasons of the four before _MIN_DRAINING_.
# FORWARDED_ALLOW_IPS is empty, or uvicorn takes the client's address from a header of the client.
# A replica and a proxy that stop wait 30 s for load balancers by default; one container has no
# other to send clients to, and Docker kills after 10 s. The chart sets the wait of a cluster.
ENV FORWARDED_ALLOW_IPS= \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_GRPC_MAX_MESSAGE_SIZE=16777216 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/venv/bin/sentigraph-haproxy \
    RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1 \
    RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER=2s \
    RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=60 \
    RAY_ROTATION_MAX_BYTES=16777216 \
    RAY_ROTATION_BACKUP_COUNT=3 \
    RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=1 \
    RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/v1/health/ready', timeout=4)"]
# `serve run` ends its cluster on the interrupt signal only.
STOPSIGNAL SIGINT
CMD ["serve", "run", "serve_config.yaml"]

FROM graph AS serve-gpu
COPY --from=package-gpu /venv /venv

# Last, so that a build without --target makes it.
FROM graph AS serve
COPY --from=package /venv /venv
