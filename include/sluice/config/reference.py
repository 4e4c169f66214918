"""The reference of all keys in docs/configuration.md, written from the models so that it cannot rot.

`python -m sluice.config.reference docs/configuration.md` brings the file up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.cohorts import CohortConfig, SyncConfig
from sluice.config.definitions import Definition, Did, DidNot, FirstSeen, Had
from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.lake import LakeConfig, MaintenanceConfig
from sluice.config.model import ConfigModel
from sluice.config.projects import Organisation, Project
from sluice.config.quality import ExpectationConfig, QualityConfig
from sluice.config.taxonomies import Taxonomy, Unplanned

MODELS: dict[str, type[ConfigModel]] = {
    "organisations": Organisation,
    "projects": Project,
    "lake": LakeConfig,
    "maintenance": MaintenanceConfig,
    "exports": ExportConfig,
    "imports": ImportConfig,
    "taxonomies": Taxonomy,
    "unplanned": Unplanned,
    "cohorts": CohortConfig,
    "syncs": SyncConfig,
    "definitions": Definition,
    "did": Did,
    "did_not": DidNot,
    "had": Had,
    "first_seen": FirstSeen,
    "quality": QualityConfig,
    "expectations": ExpectationConfig,
    "s3 cohort destinations": S3CohortDestination,
    "kinesis cohort destinations": KinesisCohortDestination,
}


def with_tables(text: str) -> str:
    """Return a Markdown text whose marked tables are those of the models.

    Marks are `<!-- keys of exports -->` and `<!-- end of keys -->`. Raises ValueError if one is missing.
    """
    for name, model in MODELS.items():
        pattern = re.compile(rf"(<!-- keys of {name} -->\n).*?(<!-- end of keys -->)", re.DOTALL)
        # A backslash in a replacement would be read as a reference to a group.
        table = _table(model).replace("\\", r"\\")
        text, count = pattern.subn(rf"\g<1>{table}\g<2>", text)
        if count != 1:
            raise ValueError(f"the text has {count} places for the keys of {name}, not one")
    return text


def _table(model: type[ConfigModel]) -> str:
    lines = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for key, info in model.model_fields.items():
        extra: Any = info.json_schema_extra
        cells = [f"`{info.alias or key}`", extra["allowed"], _default(info), info.description or ""]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default(info: FieldInfo) -> str:
    extra: Any = info.json_schema_extra
    if info.is_required():
        return "**required**"
    if "default_text" in extra:
        return str(extra["default_text"])
    match info.default:
        case None:
            return "`null`"
        case bool(value):
            return f"`{str(value).lower()}`"
        case "":
            return "empty"
        case ():
            return "none"
        case value:
            return f"`{value}`"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_tables(document.read_text()))
