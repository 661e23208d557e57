"""Save the boosting model as MLflow would have it, and the rows as CSV; runs in MLflow's Python."""

import sys

import joblib
import mlflow.sklearn
import pandas as pd


def main() -> None:
    """Take the model, where to save it, the rows' folder, the columns, the CSV, and the pins."""
    trained, model, rows, names, csv, *pins = sys.argv[1:]
    columns = names.split(",")
    pd.read_parquet(rows, columns=columns).to_csv(csv, index=False)
    mlflow.sklearn.save_model(
        joblib.load(trained),
        model,
        pip_requirements=["mlflow", *pins],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",  # its default refuses these trees
    )


if __name__ == "__main__":
    main()
