"""The types of single values: ids, bucket names, prefixes, addresses, instants."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

ID_RULE = "small letters, digits and underscores, beginning with a letter, at most 63 characters"
COHORT_ID_RULE = "1 to 32 letters and digits (it stands between underscores in the names of files)"
# The largest integer that every JSON reader keeps exact.
MAX_NUMBER = 2**53 - 1

_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EMAIL = re.compile(r"[^\s@<>,;\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IMPORT_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_CONNECTION = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_KMS_KEY = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)"
    r"|alias/[A-Za-z0-9/_-]{1,250}|[0-9a-f-]{36}|mrk-[0-9a-f]{32}"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONVERTER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.json")
_TAXONOMY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.yaml")
_COHORT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_IDS_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.csv")
_ROUTING_KEY = re.compile(r"[A-Za-z0-9.-]{1,64}")
_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
# The columns of every list, by any of their names.
_ID_COLUMNS = frozenset({"amplitude_id", "amplitudeid", "user_id", "userid"})
_TOKEN = re.compile(r"\{([^{}]*)\}")
# Date folders: which parts of a time they name. The hour may be left out: folders of whole days.
_LAYOUT_TOKENS = ("yyyy", "MM", "dd", "HH")


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("not an id")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("empty")
    if not value.isprintable():
        raise ValueError("holds line ends or control characters")
    return value.strip()


def _prose(value: str) -> str:
    if not value.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("holds control characters")
    return value


def _kms_key(value: str) -> str:
    if not _KMS_KEY.fullmatch(value):
        raise ValueError("not a KMS key")
    return value


def _email(value: str) -> str:
    if len(value) > 254 or not _EMAIL.fullmatch(value):
        raise ValueError("not an e-mail address")
    return value


def _bucket(value: str) -> str:
    if "/" in value or ":" in value:
        raise ValueError("a bucket is a name alone: no s3://, and the folder goes into prefix")
    if not _BUCKET.fullmatch(value) or ".." in value:
        raise ValueError("not the name of an S3 bucket")
    return value


def _import_bucket(value: str) -> str:
    if "." in value:
        raise ValueError(
            "an import's bucket has no dots in its name: S3's certificate does not cover such names, and the"
            " original refuses them"
        )
    if value != value.lower():
        raise ValueError("an import's bucket has no capitals in its name: S3 gives out no such names")
    _bucket(value)
    if not _IMPORT_BUCKET.fullmatch(value):
        raise ValueError("not a bucket name that can be imported from")
    return value


def _key_prefix(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("holds control characters")
    if value.startswith("/"):
        raise ValueError("object keys do not begin with a slash")
    if len(value.encode()) > 800:
        raise ValueError("longer than 800 bytes, which leaves no room for the file name")
    return value


def _folder_prefix(value: str) -> str:
    folder = _key_prefix(value.strip("/"))
    if any(part in ("", ".", "..") for part in folder.split("/")) and folder:
        raise ValueError("has an empty, . or .. folder, which many programs cannot open")
    return f"{folder}/" if folder else ""


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise ValueError("not an AWS region")
    return value


def _connection(value: str) -> str:
    if not _CONNECTION.fullmatch(value):
        raise ValueError("not the id of an Airflow connection")
    return value


def _converter(value: str) -> str:
    # An empty name stands for none: whether one is needed depends on the other keys.
    if value and not _CONVERTER.fullmatch(value):
        raise ValueError("not the name of a JSON file (a name alone, no folders)")
    return value


def _taxonomy(value: str) -> str:
    if not _TAXONOMY.fullmatch(value):
        raise ValueError("not the name of a YAML file (a name alone, no folders)")
    return value


def _layout(value: str) -> str:
    _key_prefix(value)
    tokens = _TOKEN.findall(value)
    for token in tokens:
        if token not in _LAYOUT_TOKENS:
            near = next((known for known in _LAYOUT_TOKENS if known.lower() == token.lower()), None)
            hint = f"; did you mean {{{near}}}?" if near else ""
            raise ValueError(f"{{{token}}} is no part of a date{hint}")
        if tokens.count(token) > 1:
            raise ValueError(f"{{{token}}} is there twice")
    if set(_TOKEN.sub("", value)) & set("{}"):
        raise ValueError("holds a brace that is part of no token")
    missing = [f"{{{token}}}" for token in _LAYOUT_TOKENS[:3] if token not in tokens]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}: a folder names at least its day")
    if not value.endswith("/"):
        raise ValueError("does not end in a slash, as a folder does")
    return value


def _queue(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong here: put them into the Airflow connection")
    named = [part for part in parts.path.split("/") if part]
    if parts.scheme not in ("http", "https") or not host or not named or parts.query or parts.fragment:
        raise ValueError("not the URL of an SQS queue (an ARN or a name alone is none)")
    if _CONTROL.search(value) or " " in value:
        raise ValueError("holds blanks or control characters")
    return value


def _instant(value: Any) -> Any:
    # YAML gives a date for 2013-01-01, and a time without zone for 2013-01-01 00:00:00: all is UTC here.
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _whole_hour(value: datetime) -> datetime:
    if value.minute or value.second or value.microsecond:
        raise ValueError("not a whole hour: exports go by the hour")
    return value


def _cohort_id(value: str) -> str:
    if not _COHORT_ID.fullmatch(value):
        raise ValueError("not the id of a cohort")
    return value


def _sql(value: str) -> str:
    text = _prose(value).strip()
    if not text:
        raise ValueError("empty")
    return text


def _ids_file(value: str) -> str:
    if not _IDS_FILE.fullmatch(value):
        raise ValueError("not the name of a CSV file (a name alone, no folders)")
    return value


def _routing_key(value: str) -> str:
    if not _ROUTING_KEY.fullmatch(value):
        raise ValueError("not a routing key")
    return value


def _property_name(value: str) -> str:
    name = _text(value)
    if name.casefold() in _ID_COLUMNS:
        raise ValueError(f"{name} is a column of every list already")
    return name


def _match_by(value: str) -> str:
    return value if value == "user_id" else _property_name(value)


def _stream(value: str) -> str:
    if not _STREAM.fullmatch(value):
        raise ValueError("not the name of a Kinesis stream (a name alone: an ARN is none)")
    return value


def _day(value: Any) -> Any:
    # From JSON (the ledger's record) a date comes as text.
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value


Id = Annotated[str, AfterValidator(_id)]
Text = Annotated[str, AfterValidator(_text)]
Prose = Annotated[str, AfterValidator(_prose)]
Email = Annotated[str, AfterValidator(_email)]
KmsKey = Annotated[str, AfterValidator(_kms_key)]
Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Bucket = Annotated[str, AfterValidator(_bucket)]
ImportBucket = Annotated[str, AfterValidator(_import_bucket)]
KeyPrefix = Annotated[str, AfterValidator(_key_prefix)]
FolderPrefix = Annotated[str, AfterValidator(_folder_prefix)]
Region = Annotated[str, AfterValidator(_region)]
ConnectionId = Annotated[str, AfterValidator(_connection)]
ConverterFile = Annotated[str, AfterValidator(_converter)]
TaxonomyFile = Annotated[str, AfterValidator(_taxonomy)]
Layout = Annotated[str, AfterValidator(_layout)]
QueueUrl = Annotated[str, AfterValidator(_queue)]
CohortId = Annotated[str, AfterValidator(_cohort_id)]
Sql = Annotated[str, AfterValidator(_sql)]
IdsFile = Annotated[str, AfterValidator(_ids_file)]
RoutingKey = Annotated[str, AfterValidator(_routing_key)]
PropertyName = Annotated[str, AfterValidator(_property_name)]
MatchBy = Annotated[str, AfterValidator(_match_by)]
StreamName = Annotated[str, AfterValidator(_stream)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
HourInstant = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_whole_hour)]
Day = Annotated[date, BeforeValidator(_day)]
