from .addresses import BLOCK, VARIABLE, scrub
from .bundle import ARTIFACT, Bundle, load_bundle, load_champion, load_json, load_manifest
from .datasets import TYPES, Column, Dataset, arrow_schema, list_datasets, load_dataset
from .joins import PREDICTIONS, Join, model_of, short_name
from .models import (
    FILES,
    METRICS,
    OPTIONAL_FILES,
    MetricRule,
    ModelFolder,
    ModelSpec,
    list_model_folders,
    load_model_folder,
    read_wishes,
)
from .notebooks import MAX_PAGE_BYTES, NOTEBOOK, PAGE
from .policy import ScoringRules, factory_policy, load_rules, policy_of
from .programs import FOLDER, SEARCHED, program_file, require_program
from .schedules import Schedule, read_schedule
from .scripts import list_functions
from .toml_table import Table, read_toml

__all__ = [
    "ARTIFACT",
    "BLOCK",
    "FILES",
    "FOLDER",
    "MAX_PAGE_BYTES",
    "METRICS",
    "NOTEBOOK",
    "OPTIONAL_FILES",
    "PAGE",
    "PREDICTIONS",
    "SEARCHED",
    "TYPES",
    "VARIABLE",
    "Bundle",
    "Column",
    "Dataset",
    "Join",
    "MetricRule",
    "ModelFolder",
    "ModelSpec",
    "Schedule",
    "ScoringRules",
    "Table",
    "arrow_schema",
    "factory_policy",
    "list_datasets",
    "list_functions",
    "list_model_folders",
    "load_bundle",
    "load_champion",
    "load_dataset",
    "load_json",
    "load_manifest",
    "load_model_folder",
    "load_rules",
    "model_of",
    "policy_of",
    "program_file",
    "read_schedule",
    "read_toml",
    "read_wishes",
    "require_program",
    "scrub",
    "short_name",
]
