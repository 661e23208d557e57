from .columns import Numbers, Texts, to_buckets
from .drift import Judgement, check_watch, judge_others, judge_window
from .intervals import MIN_ROWS, Interval, Z, influence, interval_of, standard_error, wilson
from .metrics import (
    AGAINST,
    HIGHER_IS_BETTER,
    Check,
    Outcomes,
    check_metrics,
    measure,
    measured_names,
    pair_outcomes,
    possible,
)
from .pairs import pair_numbers, pair_texts
from .profiles import (
    Profile,
    ProfileFold,
    decode_profile,
    merge_profiles,
    profile_rows,
    store_profile,
)

__all__ = [
    "AGAINST",
    "HIGHER_IS_BETTER",
    "MIN_ROWS",
    "Check",
    "Interval",
    "Judgement",
    "Numbers",
    "Outcomes",
    "Profile",
    "ProfileFold",
    "Texts",
    "Z",
    "check_metrics",
    "check_watch",
    "decode_profile",
    "influence",
    "interval_of",
    "judge_others",
    "judge_window",
    "measure",
    "measured_names",
    "merge_profiles",
    "pair_numbers",
    "pair_outcomes",
    "pair_texts",
    "possible",
    "profile_rows",
    "standard_error",
    "store_profile",
    "to_buckets",
    "wilson",
]
