"""How Airflow reaches the Sluice library: operators, hooks, triggers and pages, one class a file."""
