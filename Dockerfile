# Three images from one file:
#   docker build --target serve -t sentigraph .            the graph
#   docker build --target train -t sentigraph-train .      the pipeline
#   docker build --target mlflow -t sentigraph-mlflow .    the registry's server, for a cluster
#
# docker run --init -p 8000:8000 --shm-size 2g sentigraph

FROM python:3.11.14-slim-bookworm AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# Only the dependencies, so that a change of our code does not install them again.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
    && pip install --no-cache-dir --requirement requirements.txt --constraint constraints.txt

FROM dependencies AS package
COPY README.md LICENSE ./
COPY configs configs
COPY registry registry
COPY deployments deployments
COPY pipelines pipelines
COPY operations operations
COPY cli cli
COPY monitoring monitoring
COPY models models
COPY serve_config.yaml serve_config.yaml
RUN pip install --no-cache-dir --no-deps .

FROM package AS package-train
RUN pip install --no-cache-dir ".[train]" --constraint constraints.txt

FROM python:3.11.14-slim-bookworm AS package-mlflow
ENV PATH=/venv/bin:$PATH
RUN python -m venv /venv
WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['mlflow'], sep='\n')" \
      > requirements.txt \
    && pip install --no-cache-dir --requirement requirements.txt --constraint constraints.txt

FROM python:3.11.14-slim-bookworm AS mlflow
ENV PATH=/venv/bin:$PATH \
    MLFLOW_DISABLE_TELEMETRY=true
RUN useradd --uid 10001 --user-group --create-home sentigraph \
    && install --directory --owner sentigraph --group sentigraph /mlflow
COPY --from=package-mlflow /venv /venv
USER 10001:10001
EXPOSE 5000
ENTRYPOINT ["mlflow", "server"]
CMD ["--host", "0.0.0.0"]

# What the first two share: the code in /app, where Ray's workers find it by PYTHONPATH too.
FROM python:3.11.14-slim-bookworm AS application
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    SENTIGRAPH_HOME=/app
RUN useradd --uid 10001 --user-group --create-home sentigraph \
    && install --directory --owner sentigraph --group sentigraph /app /app/.sentigraph
WORKDIR /app
COPY configs configs
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

# Last, so that a build without --target makes it.
FROM application AS serve
COPY --from=package /venv /venv
COPY serve_config.yaml serve_config.yaml
# The file listens on the loopback, which nobody outside of a container could reach.
RUN sed --in-place 's/^  host: 127\.0\.0\.1$/  host: 0.0.0.0/' serve_config.yaml \
    && grep --quiet '^  host: 0\.0\.0\.0$' serve_config.yaml
# HAProxy and throughput mode: both or neither, one alone serves slower than the default.
# The front stays open: operations/front/settings.py has the reasons of the last four RAY_SERVE_.
# FORWARDED_ALLOW_IPS is empty, or uvicorn takes the client's address from a header of the client.
ENV FORWARDED_ALLOW_IPS= \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_GRPC_MAX_MESSAGE_SIZE=16777216 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/venv/bin/sentigraph-haproxy \
    RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1 \
    RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER=2s \
    RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=60 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/v1/health/ready', timeout=4)"]
# `serve run` ends its cluster on the interrupt signal only.
STOPSIGNAL SIGINT
CMD ["serve", "run", "serve_config.yaml"]
