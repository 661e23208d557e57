"""The smallest model: a quarter, and a half where the hour is missing."""

import pandas as pd


def load(folder: str) -> None:
    """Return nothing: this model has learned nothing."""


def predict(model: None, data: pd.DataFrame) -> pd.DataFrame:
    """Return `chance` on the index of `data`."""
    return pd.DataFrame({"chance": data["hour"].isna() * 0.25 + 0.25})
