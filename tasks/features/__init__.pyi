from .as_of import Joined
from .inputs import choose_inputs, list_empty, pick_inputs, read_joined, say_changes
from .plans import JoinPlan, plan_joins, plans_of, read_plans

__all__ = [
    "JoinPlan",
    "Joined",
    "choose_inputs",
    "list_empty",
    "pick_inputs",
    "plan_joins",
    "plans_of",
    "read_joined",
    "read_plans",
    "say_changes",
]
