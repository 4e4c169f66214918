"""Hooks: how operators reach the lake, the ledger and the stores."""
