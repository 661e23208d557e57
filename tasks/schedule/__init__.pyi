from .nights import MARGIN, Delivery, Night, describe_deadline
from .owed import Fetched
from .standing import Scheduled, Standing, list_scheduled, stand

__all__ = [
    "MARGIN",
    "Delivery",
    "Fetched",
    "Night",
    "Scheduled",
    "Standing",
    "describe_deadline",
    "list_scheduled",
    "stand",
]
