# The one image of all Airflow components. DAGs, plugins and the library are mounted, not copied,
# so that a change of a pipeline needs no new image; a change of requirements.txt does.
FROM python:3.11-slim-bookworm

ENV AIRFLOW_HOME=/opt/airflow \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# The very lock that `make install` and the tests use; a file with another hash is refused.
COPY requirements.txt /tmp/requirements.txt
RUN pip install --require-hashes --requirement /tmp/requirements.txt && rm /tmp/requirements.txt

# Volumes take over the owner of the folder that they cover: logs and auth must be the user's.
RUN useradd --uid 50000 --gid 0 --home-dir "$AIRFLOW_HOME" --create-home --shell /usr/sbin/nologin airflow \
    && mkdir "$AIRFLOW_HOME/logs" "$AIRFLOW_HOME/auth" \
    && chown -R 50000:0 "$AIRFLOW_HOME"

USER 50000
WORKDIR /opt/airflow
CMD ["airflow", "version"]
