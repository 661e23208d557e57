"""Every table of the registry in one place, for migrations."""

from pilotline.registry.consumers import consumers, outbox
from pilotline.registry.gates import approvals, approvers
from pilotline.registry.record import aliases, events, metrics, models, verifications, wheels
from pilotline.registry.runs import ingests, runs
from pilotline.registry.search import docs as search_docs
from pilotline.registry.store import Base, info

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
