"""Listeners: what the scheduler tells us about runs. They run inside it: trivial, and never raising."""
