# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy>=2,<3",
#     "pandas>=3,<4",
#     "pyarrow>=26,<27",
#     "scikit-learn>=1.7,<2",
# ]
# ///
"""A logistic regression over 16 numbers and 4 texts: little work a row, so the way there shows."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TEXTS = [f"text{n}" for n in range(4)]
NUMBERS = [f"float{n}" for n in range(12)] + [f"int{n}" for n in range(4)]


def train(data: pd.DataFrame, params: dict[str, Any]) -> Pipeline:
    """Return a fitted pipeline."""
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
            ("numbers", StandardScaler(), NUMBERS),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=params["max_iter"]))
    return pipeline.fit(data[TEXTS + NUMBERS], data["truth"])


def predict(model: Pipeline, data: pd.DataFrame) -> pd.DataFrame:
    """Return a probability for each row."""
    probability = model.predict_proba(data[TEXTS + NUMBERS])[:, 1]
    return pd.DataFrame({"probability": probability}, index=data.index)
