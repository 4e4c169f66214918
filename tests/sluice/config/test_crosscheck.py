import pytest


def exports(folder):
    return [export.id for export in folder.load().exports]


def messages(folder):
    return [str(problem) for problem in folder.load().problems]


def test_two_files_with_one_id_are_both_refused(folder):
    folder.export("a", id="same", prefix="a")
    folder.export("b", id="same", prefix="b")
    folder.export("c", prefix="c")
    assert exports(folder) == ["c"]
    assert messages(folder) == [
        "exports/a.yaml, line 1: id: same is also the id of exports/b.yaml. Allowed: an id of its own.",
        "exports/b.yaml, line 1: id: same is also the id of exports/a.yaml. Allowed: an id of its own.",
    ]


def test_an_export_and_an_import_may_share_an_id(folder):
    folder.export("same")
    folder.source("same")
    assert messages(folder) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({}, {}, id="same place"),
        pytest.param({}, {"enabled": False}, id="a disabled one can be backfilled"),
        pytest.param({"projects": [11, 10]}, {}, id="one project in common"),
        pytest.param({"prefix": "x"}, {"prefix": "/x/"}, id="one prefix written in two ways"),
        pytest.param({}, {"prefix": "10", "flat_layout": True}, id="a prefix that is the other's folder"),
        pytest.param({"flat_layout": True}, {"dialect": "documented"}, id="two numberings"),
    ],
)
def test_two_destinations_on_one_key_are_refused_with_both_files(folder, one, other):
    folder.export("a", **one)
    folder.export("b", **other)
    assert exports(folder) == []
    found = messages(folder)
    assert len(found) == 2
    assert "exports/a.yaml" in found[1]
    assert "exports/b.yaml" in found[0]
    assert all("would write the same keys as" in message for message in found)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"bucket": "other-bucket"}, id="another bucket"),
        pytest.param({"prefix": "x"}, id="another prefix"),
        pytest.param({"projects": [11]}, id="another project"),
    ],
)
def test_destinations_that_never_meet_are_fine(folder, other):
    folder.export("a")
    folder.export("b", **other)
    assert exports(folder) == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({}, {"flat_layout": True}, id="two layouts below one prefix"),
        pytest.param({"prefix": "x"}, {"prefix": "x", "dialect": "documented"}, id="two dialects"),
        pytest.param(
            {"flat_layout": True}, {"prefix": "10", "flat_layout": True}, id="a folder of the other's"
        ),
    ],
)
def test_destinations_that_would_replace_each_others_files_are_refused(folder, one, other):
    """An hour is replaced whatever layout wrote it, so another layout is no other place (decisions E-10)."""
    folder.export("a", **one)
    folder.export("b", **other)
    assert exports(folder) == []
    assert all("would each take the other's files for its own" in message for message in messages(folder))


def test_a_bucket_serves_one_organisation(folder):
    folder.export("one")
    folder.export("two", projects=[20])
    assert exports(folder) == []
    assert "used for organisation 1 here, and for organisation 2 in exports/two.yaml" in messages(folder)[0]


def test_one_destination_for_two_organisations_is_refused(folder):
    folder.export(projects=[10, 20])
    assert exports(folder) == []


def test_a_disabled_destination_holds_no_bucket(folder):
    folder.export("one", enabled=False)
    folder.export("two", projects=[20])
    assert exports(folder) == ["one", "two"]


def test_a_portfolio_is_no_source_of_an_export(folder):
    folder.export(projects=[30])
    assert folder.only_problem() == (
        "exports/daily.yaml, line 5: projects.0: project 30 is a portfolio, which holds no events of its own"
        " and cannot be exported. Allowed: 10, 11, 20."
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 10, "name": "Double", "organisation": 1}, "the id 10 is there 2 times"),
        ({"id": 40, "name": "Lost", "organisation": 9}, "organisation 9 is not in this file. Allowed: 1, 2"),
        (
            {"id": 40, "name": "P", "organisation": 1, "kind": "portfolio"},
            "a portfolio project needs sources",
        ),
        ({"id": 40, "name": "S", "organisation": 1, "sources": [10]}, "only a portfolio project has sources"),
        (
            {"id": 40, "name": "P", "organisation": 2, "kind": "portfolio", "sources": [20, 10]},
            "projects.4.sources.1: 10 is no valid single project of organisation 2. Allowed: 20",
        ),
        (
            {"id": 40, "name": "P", "organisation": 1, "kind": "portfolio", "sources": [30]},
            "30 is no valid single project",
        ),
        ({"id": -4, "name": "N", "organisation": 1}, "projects.4.id: wrong value"),
    ],
)
def test_projects_hold_together(folder, change, words):
    import yaml

    content = yaml.safe_load((folder.path / "projects.yaml").read_text())
    content["projects"].append(change)
    folder.write("projects.yaml", content)
    assert words in "\n".join(messages(folder))


def test_only_converters_are_offered_for_a_missing_one(folder):
    folder.write("converters/plain.tests.json", [])
    folder.write("converters/schema.json", {})
    folder.source(converter="gone.json")
    assert folder.only_problem().endswith("there is no file converters/gone.json. Allowed: plain.json.")
