"""Who is in a cohort, what changed since the last sync, and how it reaches S3 and Kinesis."""
