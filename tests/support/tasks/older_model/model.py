# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "numpy==1.26.4",
#     "pandas==2.1.4",
#     "pyarrow==14.0.2",
#     "scikit-learn==1.3.2",
# ]
# ///
"""A straight line, fitted by packages that are years older than pilotline's own."""

from datetime import date
from typing import Any

import pandas as pd
import sklearn
from sklearn.linear_model import LinearRegression


def train(data: pd.DataFrame, params: dict[str, Any]) -> LinearRegression:
    return LinearRegression().fit(data[["x"]], data["truth"])


def predict(model: LinearRegression, data: pd.DataFrame) -> pd.DataFrame:
    assert (pd.__version__, sklearn.__version__) == ("2.1.4", "1.3.2")
    assert all(isinstance(day, date) for day in data["day"])
    line = model.predict(data[["x"]]) if len(data) else []
    answer = pd.DataFrame({"probability": pd.Series(line, index=data.index, dtype="float64")})
    return answer.where(data["name"].notna(), -1.0)
