from .days import DayScored, check_interpreter, find_unchanged
from .job import Job, check_record, plan_again, plan_job, plan_production, plan_split
from .landed import find_ended
from .plan import TO_DO, PlannedDay, plan_backfill
from .shards.buckets import bucket_of
from .stream import read_input

__all__ = [
    "TO_DO",
    "DayScored",
    "Job",
    "PlannedDay",
    "bucket_of",
    "check_interpreter",
    "check_record",
    "find_ended",
    "find_unchanged",
    "plan_again",
    "plan_backfill",
    "plan_job",
    "plan_production",
    "plan_split",
    "read_input",
]
