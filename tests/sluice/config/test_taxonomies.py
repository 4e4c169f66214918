"""Taxonomies: read, refused with file and key, and what a bad one takes along."""

import pytest
import yaml

from sluice.config import ConfigError

PLAN = {
    "event_types": {"open": {"page": "string", "count": "integer"}, "close": None},
    "event_properties": {"shop": "string"},
    "user_properties": {"plan": "any"},
    "unplanned": {"event_types": "reject"},
}


@pytest.fixture
def planned(folder):
    projects = yaml.safe_load((folder.path / "projects.yaml").read_text())
    projects["projects"][0]["taxonomy"] = "ten.yaml"
    folder.write("projects.yaml", projects)
    folder.source()
    folder.source("other", project=11)
    folder.export()
    return folder


def test_a_taxonomy_is_read_when_it_is_asked_for(planned):
    planned.write("taxonomies/ten.yaml", PLAN)
    config = planned.load(thorough=True)
    assert config.problems == ()
    taxonomy = config.taxonomy(10)
    assert taxonomy.event_types == {"open": {"page": "string", "count": "integer"}, "close": {}}
    assert (taxonomy.unplanned.event_types, taxonomy.unplanned.properties) == ("reject", "warn")
    assert config.taxonomy(11) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PLAN | {"event_property": {}}, "event_property: unknown key; did you mean event_properties?"),
        (
            PLAN | {"event_types": {"open": {"page": "text"}}},
            "line 3: event_types.open.page: wrong value. Found: 'text'. Allowed: event types, each with",
        ),
        (PLAN | {"event_properties": {"": "string"}}, "event_properties: an empty name"),
        (PLAN | {"event_properties": {"x" * 1025: "string"}}, "longer than the 1,024 characters"),
        (PLAN | {"unplanned": {"properties": "deny"}}, "unplanned.properties: wrong value. Found: 'deny'"),
        (PLAN | {"unplanned": {"types": "warn"}}, "unplanned.types: unknown key"),
        ("- open\n", "not made of keys and values"),
        ("event_types: {open: {a: string}, open: {}}\n", "the key is there twice"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(planned, content, words):
    planned.write("taxonomies/ten.yaml", content)
    # Parsing a DAG file does not pay for it.
    assert planned.load().problems == ()
    config = planned.load(thorough=True)
    (problem,) = config.problems
    assert str(problem).startswith("taxonomies/ten.yaml")
    assert words in str(problem)
    # Only what needs it stands still.
    assert [source.id for source in config.imports] == ["other"]
    assert [export.id for export in config.exports] == ["daily"]
    with pytest.raises(ConfigError, match=r"taxonomies/ten\.yaml"):
        config.taxonomy(10)


def test_a_missing_taxonomy_is_named_with_those_that_are_there(planned):
    planned.write("taxonomies/eleven.yaml", PLAN)
    message = planned.only_problem()
    assert message.startswith("taxonomies/ten.yaml: there is no such file, which project 10 names")
    assert message.endswith("Allowed: eleven.yaml.")
    assert [source.id for source in planned.load().imports] == ["other"]


def test_a_large_plan_is_read(planned):
    types = {f"event type {n}": {f"property {m}": "string" for m in range(20)} for n in range(1000)}
    planned.write("taxonomies/ten.yaml", PLAN | {"event_types": types})
    assert len(planned.load().taxonomy(10).event_types) == 1000


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("single", "../lake.yaml", "taxonomy: not the name of a YAML file (a name alone, no folders)"),
        ("single", "plan.json", "taxonomy: not the name of a YAML file"),
        ("portfolio", "ten.yaml", "a portfolio has no events of its own, so no taxonomy"),
    ],
)
def test_a_project_names_a_file_of_the_folder(folder, kind, name, words):
    projects = yaml.safe_load((folder.path / "projects.yaml").read_text())
    project = next(one for one in projects["projects"] if one.get("kind", "single") == kind)
    project["taxonomy"] = name
    folder.write("projects.yaml", projects)
    assert any(words in str(problem) for problem in folder.load().problems)
