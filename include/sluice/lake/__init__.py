"""The lake: Delta tables of events and their side tables, and the load protocol (ADR 1) that guards them."""
