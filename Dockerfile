# The official Airflow image with this package in a separate environment, exactly as in uv.lock, so the same versions
# run here as in the tests. From the image come Python, the user `airflow`, the entrypoint and AIRFLOW_HOME.
ARG BASE=apache/airflow:3.3.2-python3.11

FROM ${BASE} AS environment
USER root
# pyfarmhash has no wheel; only this stage has the compiler
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ python3-dev >/dev/null \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_USER=false UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/mlpipe/venv
WORKDIR /opt/mlpipe/source
COPY pyproject.toml uv.lock ./
RUN python -m venv /opt/mlpipe/uv && /opt/mlpipe/uv/bin/python -m pip install --quiet \
    "uv$(sed -n 's/^required-version = "\(.*\)"/\1/p' pyproject.toml)"
RUN /opt/mlpipe/uv/bin/uv sync --quiet --frozen --no-install-project --extra examples --extra celery --compile-bytecode

FROM ${BASE}
USER root
COPY --from=environment /opt/mlpipe /opt/mlpipe
# Named volumes get the owner of these folders, so the image's user can write to them
RUN mkdir -p /opt/airflow/logs /opt/airflow/mlpipe && chown airflow:0 /opt/airflow/logs /opt/airflow/mlpipe
ENV PATH=/opt/mlpipe/venv/bin:$PATH
# Files that change often come last: a change of the code rebuilds only from here
COPY compose/ /opt/mlpipe/compose/
COPY pyproject.toml README.md LICENSE /opt/mlpipe/source/
COPY airflow_provider_mlpipe/ /opt/mlpipe/source/airflow_provider_mlpipe/
ENV UV_NO_CACHE=1 UV_PYTHON=/opt/mlpipe/venv/bin/python
RUN chmod -R a+rX /opt/mlpipe/compose /opt/mlpipe/source \
    && /opt/mlpipe/uv/bin/uv pip install --quiet --no-deps --compile-bytecode /opt/mlpipe/source
# Install packages that your own DAGs import here:
# RUN /opt/mlpipe/uv/bin/uv pip install apache-airflow-providers-amazon
USER airflow
