"""Operators: each step of a DAG is one of these, and each is thin; what it does lies in the library."""
