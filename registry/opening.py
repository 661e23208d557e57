"""The registry as people open it: any table, any blob store, search kept in step."""

from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from pilotline.registry.blobs import BlobStore, open_blobs
from pilotline.registry.store import Store


class Registry(Store):
    """An open registry. Cheap to make; close it, or use it in a ``with`` statement."""

    def __init__(self, url: str, blobs: BlobStore | Path | str) -> None:
        """Open the database at ``url``, bringing its tables up to date.

        Args:
            url: SQLAlchemy URL, such as ``sqlite:///registry.db`` or ``postgresql://host/name``.
            blobs: a blob store, or the address of one: a folder or ``s3://bucket/prefix``.

        Raises:
            StoreError: database or blob store cannot be opened, or the first is newer than this
                code.
        """
        store = open_blobs(blobs) if isinstance(blobs, str | Path) else blobs
        super().__init__(url, store, upgrade=_upgrade, follow=_keep_search)


def _upgrade(engine: Engine) -> None:
    from pilotline.registry.migrations.upgrade import upgrade  # alembic: only when needed

    upgrade(engine)


def _keep_search(session: Session) -> AbstractContextManager[None]:
    from pilotline.registry.search import describing_changes  # every table: writers only

    return describing_changes(session)
