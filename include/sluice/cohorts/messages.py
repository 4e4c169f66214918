"""The messages of a sync to Kinesis: their exact text and their ids (amplitude-spec 3.1, decisions K-5 to K-7).

A file of messages has one JSON object a line, those of leaving users first.
"""

from __future__ import annotations

from uuid import UUID

# Fixed for ever: a message's id must be the same in every try of every version (decisions K-6).
MESSAGE_NAMESPACE = UUID("8d1f5c0e-4b7a-5e36-9c52-6a0de3b1f874")
