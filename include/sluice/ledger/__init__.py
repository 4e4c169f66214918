"""The ledger: SQL tables that say what was imported, exported and synced, with claims and leases.

What the lake's log also says (loads, hours, files loaded) is a projection of that log; see ADR 1.
"""

from sluice.ledger.database import Ledger, LedgerError

__all__ = ["Ledger", "LedgerError"]
