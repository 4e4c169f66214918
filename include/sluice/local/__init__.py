"""S3, the AWS stand-in, PostgreSQL and Airflow as child processes on loopback, for the demo and the tests."""
