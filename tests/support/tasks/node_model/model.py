# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy>=2,<3",
#     "pandas>=3,<4",
#     "pyarrow>=26,<27",
#     "scikit-learn>=1.7,<2",
# ]
# ///
"""Learn a logistic regression in Python, and save its coefficients for score.js."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "distance", "weekday"]


def train(data: pd.DataFrame, params: dict[str, Any]) -> Pipeline:
    """Return a fitted pipeline; a missing number is the mean, an unknown category nothing."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=1000))
    return pipeline.fit(clean(data), data["late"].astype("int64"))


def save(model: Pipeline, folder: str) -> None:
    """Write `model.json`: the intercept, a weight a number, a weight a category."""
    columns, regression = model[0], model[1]
    imputer, scaler = columns.named_transformers_["numbers"]
    weights = regression.coef_[0]
    slopes = weights[: len(NUMBERS)] / scaler.scale_
    known = columns.named_transformers_["categories"].categories_
    rest = iter(weights[len(NUMBERS) :].tolist())
    saved = {
        "intercept": float(regression.intercept_[0] - slopes @ scaler.mean_),
        "numbers": {
            name: {"weight": float(slope), "missing": float(mean)}
            for name, slope, mean in zip(NUMBERS, slopes, imputer.statistics_, strict=True)
        },
        "categories": {
            name: {str(value): next(rest) for value in values}
            for name, values in zip(CATEGORIES, known, strict=True)
        },
    }
    Path(folder, "model.json").write_text(json.dumps(saved), "utf-8")


def clean(data: pd.DataFrame) -> pd.DataFrame:
    """Return the features in plain types: texts or None, floats or NaN."""
    texts = data[CATEGORIES].astype(object)
    return texts.where(texts.notna(), None).join(data[NUMBERS].astype("float64"))
