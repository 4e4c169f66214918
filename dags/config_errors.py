"""Shows the configuration's problems where Airflow shows a broken DAG.

Every other file here makes DAGs of the valid part of include/config. What is not valid ends up in this
file's import error: file, line, key, and what is allowed. Without problems, the file defines no DAG.
"""

# Airflow imports only files that mention airflow and dag: the lines above do.
from sluice.config import load_config

load_config(thorough=True).raise_for_problems()
