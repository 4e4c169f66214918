"""Data-quality gates: expectations between the work and the world (docs/quality.md, ADR 16).

A lower room: it knows rows, expectations and verdicts, not exports, imports or cohorts.
"""
