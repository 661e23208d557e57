"""Every table of the registry in one place, for migrations."""

from registry import aliases, approvals, events, ingests, metrics, models, runs, verifications
from registry.base import Base

tables = (aliases, approvals, events, ingests, metrics, models, runs, verifications)
metadata = Base.metadata
