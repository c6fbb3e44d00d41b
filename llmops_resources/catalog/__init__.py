"""Versions, their lifecycle, approvals by digest, evidence and lineage."""
