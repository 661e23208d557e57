"""Predictions in memory: what makes them unacceptable."""

import pyarrow as pa
import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.sandbox.predictions import output_schema, refuse_not_finite

SCHEMA = output_schema({"probability": "float64", "word": "string"})


@pytest.mark.parametrize(
    ("probabilities", "words", "problem"),
    [
        ([0.5, float("nan"), float("inf")], ["a", "b", "c"], "2 predictions in 'probability'"),
        ([0.5, -float("inf"), 1.0], ["a", "b", "c"], "1 predictions in 'probability'"),
        ([0.5, None, float("nan")], ["a", "b", "c"], "2 predictions in 'probability'"),
        ([0.5, 0.0, 1.0], ["a", None, "c"], "1 predictions in 'word'"),
    ],
)
def test_a_prediction_that_is_missing_or_not_finite_is_refused_with_how_many_there_are(
    probabilities: list[float | None], words: list[str | None], problem: str
) -> None:
    rows = pa.table([probabilities, words], schema=SCHEMA)
    with pytest.raises(ChildError) as refused:
        refuse_not_finite("churn", rows, "last words")
    assert f"gave {problem} that are missing or not finite" in str(refused.value)
    assert str(refused.value).endswith("last words")


def test_finite_predictions_pass() -> None:
    rows = pa.table([[0.5, -0.0, 1e308], ["a", "", "c"]], schema=SCHEMA)
    refuse_not_finite("churn", rows)
    refuse_not_finite("churn", SCHEMA.empty_table())
