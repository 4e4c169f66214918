import pytest

from sluice.config import ConfigError, default_directory, load_config
from sluice.errors import SluiceError


def test_a_valid_folder_is_read_whole(folder):
    folder.export()
    folder.source()
    config = folder.load(thorough=True)
    config.raise_for_problems()
    assert [export.dag_id for export in config.exports] == ["export_hourly__daily"]
    assert [source.dag_id for source in config.imports] == ["import_s3__files"]
    assert config.export("daily").source_file == "exports/daily.yaml"
    assert config.organisation_of(20).name == "Two"
    assert config.converter_path(config.source("files")).is_file()
    assert config.lake.uri == "s3://lake-bucket/lake"


def test_the_repository_is_configured_for_the_flights():
    config = load_config()
    config.raise_for_problems()
    assert config.directory == default_directory().resolve()
    assert config.export("flights").projects == (187520,)
    assert config.source("flights").upload_time == "event_time"
    assert config.organisation_of(187520).id == 189524
    assert config.administrator == "data@example.com"


def test_the_environment_names_another_folder(folder, monkeypatch):
    monkeypatch.setenv("SLUICE_CONFIG", str(folder.path))
    assert load_config().directory == folder.path.resolve()


def test_a_missing_folder_says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigError, match=r"\n  - there is no such folder: create it, or set SLUICE_CONFIG"):
        load_config(tmp_path / "nowhere").raise_for_problems()


def test_a_bad_file_leaves_the_others_and_the_error_lists_all(folder):
    folder.export()
    folder.export("typo", bukcet="x", prefix="typo")
    folder.write("exports/broken.yaml", "id: [")
    config = folder.load()
    assert [export.id for export in config.exports] == ["daily"]
    with pytest.raises(ConfigError) as caught:
        config.raise_for_problems()
    assert {problem.file for problem in caught.value.problems} == {"exports/broken.yaml", "exports/typo.yaml"}
    assert str(caught.value).startswith(f"2 problems in the configuration {folder.path}")


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(folder):
    folder.export(bukcet="x")
    message = folder.only_problem()
    assert message.startswith(
        "exports/daily.yaml, line 7: bukcet: unknown key; did you mean bucket? Allowed: id, "
    )


def test_a_missing_key_is_named_with_what_it_takes(folder):
    folder.write("exports/daily.yaml", "id: daily\nname: D\nowner: a@b.example\nprojects: [10]\n")
    assert folder.only_problem() == (
        "exports/daily.yaml: bucket: missing. Allowed: the name of an S3 bucket: 3 to 63 small letters,"
        " digits, dots and dashes."
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"bucket": 5},
            ["line 6: bucket: not text", "Found: 5 (a number)", "Allowed: the name of an S3 bucket"],
        ),
        ({"bucket": "s3://out/x"}, ["bucket: a bucket is a name alone"]),
        ({"description": False}, ["description: not text", "quotes", "Found: False (true or false)"]),
        ({"enabled": "yes"}, ["enabled: neither true nor false", "Found: 'yes'"]),
        ({"projects": 10}, ["projects: not a list", "Found: 10"]),
        ({"projects": []}, ["projects: an empty list"]),
        ({"projects": [10, 10]}, ["projects: named twice: 10"]),
        ({"projects": ["10"]}, ["projects.0: not a whole number"]),
        ({"projects": [True]}, ["projects.0: not a whole number"]),
        ({"id": "Daily-1"}, ["id: not an id", "small letters"]),
        ({"id": "a" * 64}, ["id: not an id"]),
        ({"owner": "somebody"}, ["owner: not an e-mail address"]),
        ({"owner": "a@b.example\nBcc: c@d.example"}, ["owner: not an e-mail address"]),
        ({"dialect": "modern"}, ["dialect: wrong value", "Allowed: observed or documented"]),
        ({"data_sets": ["merged_ids"]}, ["data_sets.0: wrong value", "Allowed: [events]"]),
        ({"compression_level": 9}, ["compression_level: wrong value", "Allowed: 0, 1, 2 or 3"]),
        ({"partition_bytes": 1e9}, ["partition_bytes: not a whole number"]),
        ({"start": "2013-01-01T00:30:00Z"}, ["start: not a whole hour"]),
        ({"prefix": "a/../b"}, ["prefix: has an empty, . or .. folder"]),
        ({"region": "Frankfurt"}, ["region: not an AWS region"]),
        ({"region": ["us-east-1"]}, ["region: not text"]),
        ({"secret_key": "hunter2"}, ["secret_key: unknown key"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(folder, keys, words):
    folder.export(**keys)
    message = folder.only_problem()
    for word in words:
        assert word in message
    assert "hunter2" not in message


NOTIFIED = {"discovery": "notifications", "queue": "https://sqs.us-east-1.amazonaws.com/123456789012/files"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"bucket": "in.bucket"}, "no dots"),
        ({"bucket": "In-bucket"}, "no capitals"),
        ({"region": None}, "region: not text"),
        ({"converter": "gone.json"}, "there is no file converters/gone.json. Allowed: plain.json"),
        ({"converter": "../plain.json"}, "no folders"),
        ({"data_type": "profiles"}, "profiles cannot be imported with append_only, only with mirror"),
        ({"data_type": "profiles", "strategy": "mirror"}, "comes with a later version"),
        ({"strategy": "mirror"}, "event with mirror comes with a later version"),
        ({"strategy": "mirror"}, "event             yes          later\n"),
        ({"data_type": "group_properties"}, "group_properties with append_only comes with a later version"),
        ({"data_type": "clicks"}, "data_type: wrong value"),
        ({"not_before": "soon"}, "not_before: "),
        ({"min_bytes": 5, "max_bytes": 5}, "no file fits"),
        ({"error_budget": 1.5}, "error_budget: wrong value"),
        ({"prefix": "/flights/"}, "do not begin with a slash"),
        ({"scan_every": 0}, "scan_every: wrong value"),
        ({"converter": ""}, "converter: missing: rows become events by a converter"),
        ({"replay": True}, "a source with `replay: true` has no converter"),
        ({"discovery": "notification"}, "discovery: wrong value"),
        ({"discovery": "notifications"}, "queue: missing"),
        ({"queue": "https://sqs.eu-west-1.amazonaws.com/1/files"}, "this source scans"),
        (NOTIFIED | {"layout": "{yyyy}/{MM}/{dd}/"}, "only `discovery: scan` lists date folders"),
        (NOTIFIED | {"queue": "arn:aws:sqs:us-east-1:1:files"}, "not the URL of an SQS queue"),
        (NOTIFIED | {"queue": "https://sqs.us-east-1.amazonaws.com/"}, "not the URL of an SQS queue"),
        (NOTIFIED | {"queue": "https://sqs.us-east-1.amazonaws.com:x/1/a"}, "queue: not a URL: Port"),
        ({"layout": "{yyyy}/{mm}/{dd}/"}, "layout: {mm} is no part of a date; did you mean {MM}?"),
        ({"layout": "{yyyy}/{MM}/{week}/"}, "layout: {week} is no part of a date"),
        ({"layout": "{yyyy}/{MM}/"}, "lacks {dd}"),
        ({"layout": "{yyyy}/{MM}/{dd}/{dd}/"}, "{dd} is there twice"),
        ({"layout": "{yyyy}/{MM}/{dd}/}"}, "a brace that is part of no token"),
        ({"layout": "{yyyy}/{MM}/{dd}"}, "does not end in a slash"),
        ({"layout": "/{yyyy}/{MM}/{dd}/"}, "do not begin with a slash"),
        ({"recent_hours": 0}, "recent_hours: wrong value"),
        ({"sweep_every": 0}, "sweep_every: wrong value"),
        ({"sweep_evry": 60}, "unknown key; did you mean sweep_every?"),
        ({"project": 99}, "project: project 99 is not in projects.yaml. Allowed: 10, 11, 20"),
        ({"project": 30}, "is a portfolio"),
    ],
)
def test_a_wrong_import_is_named_with_the_reason(folder, keys, words):
    folder.source(**keys)
    message = folder.only_problem()
    assert words in message
    assert message.startswith("imports/files.yaml")


def test_no_credentials_of_a_queue_are_shown(folder):
    folder.source(**NOTIFIED | {"queue": "https://key:hunter2@sqs.us-east-1.amazonaws.com/1/files"})
    message = folder.only_problem()
    assert "put them into the Airflow connection" in message
    assert "hunter2" not in message


def test_two_sources_on_one_queue_are_refused(folder):
    folder.source("one", **NOTIFIED)
    folder.source("two", **NOTIFIED)
    problems = [str(problem) for problem in folder.load().problems]
    assert [problem.split(": ", 2)[1] for problem in problems] == ["queue", "queue"]
    assert "is read by imports/two.yaml as well" in problems[0]


@pytest.mark.parametrize(
    "keys",
    [
        NOTIFIED,
        NOTIFIED | {"queue": "http://127.0.0.1:5000/123456789012/files", "sweep_every": 60},
        {"layout": "dt={yyyy}-{MM}-{dd}/hour={HH}/", "recent_hours": 24, "sweep_every": 720},
        {"layout": "{yyyy}{MM}{dd}/"},
        {"replay": True, "converter": ""},
    ],
)
def test_ways_of_discovery_and_replay_are_read(folder, keys):
    folder.source(**keys)
    config = folder.load()
    assert config.problems == ()
    (source,) = config.imports
    assert {key: getattr(source, key) for key in keys} == keys
    assert not source.enabled


def test_a_converter_is_compiled_on_demand_only(folder):
    folder.source()
    folder.source("twin", prefix="twin/")
    folder.source("other", converter="other.json")
    text = (folder.path / "converters/plain.json").read_text()
    folder.write("converters/other.json", text)
    folder.write("converters/plain.json", text.replace('"action"', '["uppercase", "action"]'))
    assert folder.load().problems == ()
    config = folder.load(thorough=True)
    assert [source.id for source in config.imports] == ["other"]
    (problem,) = config.problems
    assert str(problem).startswith(
        "converters/plain.json: /converterConfig/convertToAmplitudeFunc/event_type"
    )
    assert "uppercase" in str(problem)


def test_a_converter_that_is_no_json_is_a_problem_of_its_file(folder):
    folder.source()
    folder.write("converters/plain.json", "{")
    (problem,) = folder.load(thorough=True).problems
    assert str(problem).startswith("converters/plain.json: ")


def test_a_file_that_is_not_read_is_not_passed_over_in_silence(folder):
    folder.write("exports/old.yml", "id: old\n")
    folder.write("exports/README.md", "notes")
    folder.write("exports/.daily.yaml.swp", b"\x00")
    assert folder.only_problem() == "exports/old.yml: not read: rename it to end in .yaml."


def test_one_bad_project_leaves_the_others(folder):
    folder.export()
    folder.source(project=20)
    text = (folder.path / "projects.yaml").read_text().replace("name: Twenty", "nmae: Twenty")
    folder.write("projects.yaml", text)
    config = folder.load()
    assert [export.id for export in config.exports] == ["daily"]
    assert config.imports == ()
    messages = "\n".join(map(str, config.problems))
    assert "projects.2.nmae: unknown key; did you mean name?" in messages
    assert (
        "imports/files.yaml, line 4: project: project 20 has a problem of its own in projects.yaml"
        in messages
    )


def test_an_unreadable_projects_file_is_the_reason_that_exports_give(folder):
    folder.export()
    folder.write("projects.yaml", "organisations: [")
    messages = [str(problem) for problem in folder.load().problems]
    assert messages[0].startswith("projects.yaml, line ")
    assert messages[1].endswith("project 10 is not known, since projects.yaml cannot be read.")


def test_a_lake_with_a_problem_is_told_when_it_is_asked_for(folder):
    folder.write("lake.yaml", {"uri": "s3://AKIA:hunter2@lake/x"})
    config = folder.load()
    with pytest.raises(ConfigError, match="credentials do not belong here") as caught:
        _ = config.lake
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://bucket", "s3:///x", ""])
def test_a_lake_lies_on_s3_or_in_a_folder(folder, uri):
    folder.write("lake.yaml", {"uri": uri})
    assert folder.only_problem().startswith("lake.yaml, line 1: uri: ")


def test_a_relative_lake_begins_at_its_file(folder):
    folder.write("lake.yaml", {"uri": "../lake"})
    lake = folder.load().lake
    assert lake.is_local
    assert lake.uri == str(folder.path.parent / "lake")


def test_asking_for_what_is_not_there_lists_what_is(folder):
    folder.export()
    with pytest.raises(SluiceError, match=r"no valid export destination hourly .*valid are: daily"):
        folder.load().export("hourly")


@pytest.mark.parametrize(
    ("filter", "problem"),
    [
        (
            {"event_types": {"includ": ["a"], "exclude": ["b"]}},
            "line 9: filter.event_types.includ: unknown key; did you mean include? Allowed: include,",
        ),
        (
            {"where": [{"column": "city", "exists": True}, {"any": [{"column": "city", "equal": "x"}]}]},
            "filter.where.1.any.0.equal: unknown key; did you mean equals?",
        ),
        ({"where": ["city"]}, "filter.where.0: not made of keys and values. Found: 'city'."),
        ({"where": [{"column": 5, "equals": "x"}]}, "filter.where.0.column: not text"),
        ({"where": [{"any": {"column": "city"}}]}, "filter.where.0.any: not a list."),
    ],
)
def test_a_mistake_inside_lists_and_choices_is_named_with_its_own_key(folder, filter, problem):
    folder.export(filter=filter)
    assert problem in folder.only_problem()
