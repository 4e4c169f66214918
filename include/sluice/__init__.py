"""Sluice: Amplitude-compatible S3 and Kinesis pipelines. This library knows no Airflow."""

__version__ = "0.1.0"
