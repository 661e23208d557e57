# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy>=2,<3",
#     "pandas>=3,<4",
#     "pyarrow>=26,<27",
#     "scikit-learn>=1.7,<2",
# ]
# ///
"""Gradient boosted trees over 16 numbers and 4 texts: what most tabular models in use are."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

TEXTS = [f"text{n}" for n in range(4)]
NUMBERS = [f"float{n}" for n in range(12)] + [f"int{n}" for n in range(4)]


def train(data: pd.DataFrame, params: dict[str, Any]) -> Pipeline:
    """Return a fitted pipeline."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("texts", encoder, TEXTS), ("numbers", "passthrough", NUMBERS)])
    trees = HistGradientBoostingClassifier(
        max_iter=params["max_iter"], early_stopping=False, random_state=0
    )
    return make_pipeline(columns, trees).fit(data[TEXTS + NUMBERS], data["truth"])


def predict(model: Pipeline, data: pd.DataFrame) -> pd.DataFrame:
    """Return a probability for each row."""
    probability = model.predict_proba(data[TEXTS + NUMBERS])[:, 1]
    return pd.DataFrame({"probability": probability}, index=data.index)
