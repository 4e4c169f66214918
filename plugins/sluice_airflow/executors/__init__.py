"""Executors: how Airflow runs Sluice's tasks."""
