"""Every table of the registry in one place, for migrations."""

from registry import (
    aliases,
    approvals,
    approvers,
    consumers,
    events,
    info,
    ingests,
    metrics,
    models,
    outbox,
    runs,
    search_docs,
    verifications,
    wheels,
)
from registry.base import Base

tables = (
    aliases,
    approvals,
    approvers,
    consumers,
    events,
    info,
    ingests,
    metrics,
    models,
    outbox,
    runs,
    search_docs,
    verifications,
    wheels,
)
metadata = Base.metadata
