# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy>=2,<3",
#     "pandas>=3,<4",
#     "pyarrow>=26,<27",
#     "scikit-learn>=1.7,<2",
# ]
# ///
"""Forecast which flights arrive 15 minutes late or more, from what the timetable says."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "distance", "weekday"]
TARGET = "late"


def train(data: pd.DataFrame, params: dict[str, Any]) -> Pipeline:
    """Return a fitted pipeline; the same rows in the same order give the same one.

    Args:
        data: the feature columns and `late`, 0 or 1.
        params: `max_iter`, the number of trees.
    """
    encoder = OrdinalEncoder(
        # Another airport than those seen counts as missing, which the trees know how to send on.
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    columns = ColumnTransformer(
        [("categories", encoder, CATEGORIES), ("numbers", "passthrough", NUMBERS)]
    )
    trees = HistGradientBoostingClassifier(
        max_iter=params["max_iter"], early_stopping=False, random_state=0
    )
    pipeline = make_pipeline(columns, trees)
    pipeline.fit(_clean(data), data[TARGET].astype("int64"))
    return pipeline


def predict(model: Pipeline, data: pd.DataFrame) -> pd.DataFrame:
    """Return `probability` of arriving late, in [0, 1], on the index of the features."""
    if len(data) == 0:  # scikit-learn refuses to predict nothing
        probability = np.empty(0)
    else:
        probability = model.predict_proba(_clean(data))[:, 1]
    return pd.DataFrame({"probability": probability}, index=data.index)


def _clean(data: pd.DataFrame) -> pd.DataFrame:
    """Return the features in one order and one type each, NaN where a value is missing."""
    features = data[CATEGORIES + NUMBERS].astype(dict.fromkeys(CATEGORIES, object))
    features = features.where(features.notna(), np.nan)  # the encoder sorts no None and no NA
    return features.astype(dict.fromkeys(NUMBERS, "float64"))
