"""A model that is scored by a program of its own, in JavaScript."""

from pathlib import Path

from tasks.environments import Environment
from tasks.home import Home
from tasks.process import Room
from tasks.sandbox import Tier

DATA = Path(__file__).parent / "node_model"
COMMAND = '\n[runner]\ncommand = ["node", "score.js"]\n'
C = Tier("C", "asked for by the test")
# The same pipeline, saved and asked by Python itself.
TWIN = """

def predict(model, data):
    chance = model.predict_proba(clean(data))[:, 1] if len(data) else []
    return pd.DataFrame({"probability": pd.Series(chance, data.index, "float64")})
"""


def bare_room(home: Home, place: Path, tier: Tier) -> Room:
    """Return a room without packages: a program of the model's own sees none."""
    (place / "work").mkdir(parents=True)
    return Room(home, Environment(place, place / "python", "0" * 64, 0.0, "cache"), tier)
