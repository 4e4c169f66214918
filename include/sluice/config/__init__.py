"""Configuration: typed models of the YAML files, and the errors that name file, key and what is allowed."""

from sluice.config.cohort_destinations import (
    CohortDestination,
    KinesisCohortDestination,
    S3CohortDestination,
)
from sluice.config.cohorts import CohortConfig, SyncConfig
from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.lake import LakeConfig
from sluice.config.load import Config, default_directory, load_config
from sluice.config.problems import ConfigError, ConfigProblem
from sluice.config.projects import Organisation, Project
from sluice.config.syncs import Sync

__all__ = [
    "CohortConfig",
    "CohortDestination",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "ExportConfig",
    "ImportConfig",
    "KinesisCohortDestination",
    "LakeConfig",
    "Organisation",
    "Project",
    "S3CohortDestination",
    "Sync",
    "SyncConfig",
    "default_directory",
    "load_config",
]
