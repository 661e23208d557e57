"""A model that is scored by a program of its own, in JavaScript."""

from pathlib import Path

from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.environments import Environment
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from tests.support.places import TESTS

DATA = TESTS / "support" / "tasks" / "node_model"
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
