"""Configuration: typed models of the YAML files, and the errors that name file, key and what is allowed."""

from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.lake import LakeConfig
from sluice.config.load import Config, default_directory, load_config
from sluice.config.problems import ConfigError, ConfigProblem
from sluice.config.projects import Organisation, Project

__all__ = [
    "Config",
    "ConfigError",
    "ConfigProblem",
    "ExportConfig",
    "ImportConfig",
    "LakeConfig",
    "Organisation",
    "Project",
    "default_directory",
    "load_config",
]
