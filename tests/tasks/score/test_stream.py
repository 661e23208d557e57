"""The stream of finished rows: complete, or not committed."""

from datetime import date

import pytest

from pilotline.registry.runs.ingests import Ingest
from pilotline.registry.runs.runs import Run
from pilotline.tasks.errors import LakeError
from pilotline.tasks.score.stream import check_complete

RUN = Run(id="20130114-000000000000", date=date(2013, 1, 14))
PARTITION = Ingest(dataset="flights", accepted=842)


def test_as_many_rows_as_were_ingested_are_complete() -> None:
    check_complete(RUN, PARTITION, 842)


@pytest.mark.parametrize("rows", [0, 841, 843])
def test_one_row_more_or_less_than_was_ingested_is_refused(rows: int) -> None:
    message = rf"day 2013-01-14 reads as {rows} rows, 842 were ingested\. Ingest the day again\.$"
    with pytest.raises(LakeError, match=message):
        check_complete(RUN, PARTITION, rows)
