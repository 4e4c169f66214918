"""What only several files together tell: references, properties, cadences, and names that two would share."""

from __future__ import annotations

import pytest


@pytest.fixture
def ready(folder):
    """A cohort's folder with both destinations, to be spoiled."""
    folder.s3()
    folder.kinesis()
    return folder


def problems(folder):
    return [str(problem) for problem in folder.load().problems]


@pytest.mark.parametrize(
    ("sync", "problem"),
    [
        pytest.param(
            {"destination": "cmr"},
            "line 11: syncs.0.destination: destination cmr is not in cohort_destinations/. Allowed: ads,"
            " crm.",
            id="unknown destination",
        ),
        pytest.param(
            {"cadence": "real_time"},
            "line 12: syncs.0.cadence: files are not written every minute: real_time is for Kinesis only."
            " Allowed: one_time, hourly or daily; or a Kinesis destination instead of crm.",
            id="real_time to S3",
        ),
        pytest.param(
            {"user_properties": ["city", "plan"]},
            "syncs.0.user_properties.1: the cohort has no property plan. Allowed: city, visits.",
            id="a property that the cohort lacks",
        ),
        pytest.param(
            {"destination": "ads", "routing_key": "crm"},
            "syncs.0.routing_key: stands in the names of files, and Kinesis has none. Allowed: no"
            " routing_key for"
            " this sync.",
            id="a routing key to Kinesis",
        ),
    ],
)
def test_a_sync_that_cannot_be_is_named_with_what_to_choose(ready, sync, problem):
    ready.cohort(sync)
    text = ready.only_problem()
    assert text.startswith("cohorts/delayed.yaml, line ")
    assert problem in text
    assert ready.load().syncs == ()


@pytest.mark.parametrize(
    "kind",
    [
        *("funnel", "retention", "stickiness", "nth_time", "event_within", "distinct_interval"),
        *("computation", "prediction"),
    ],
)
def test_excluded_kinds_are_refused_in_real_time_and_in_no_other_cadence(ready, kind):
    ready.cohort({"destination": "ads", "cadence": "real_time"}, kind=kind)
    assert (
        f"syncs.0.cadence: a cohort of kind {kind} is not computed every minute. Allowed: one_time, hourly or"
        " daily; only behavioral cohorts are synced in real_time." in ready.only_problem()
    )
    for cadence in ("one_time", "hourly", "daily"):
        ready.cohort({"destination": "ads", "cadence": cadence}, kind=kind)
        assert problems(ready) == []


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        pytest.param(
            {"require_suffix": True},
            "syncs.0.routing_key: missing: destination crm has `require_suffix: true`, which asks for one"
            " in each"
            " sync. Allowed: 1 to 64 letters, digits, dots and dashes.",
            id="a suffix is required",
        ),
        pytest.param(
            {"projects": [11]},
            "syncs.0.destination: destination crm does not take project 10. Allowed: ads; or the project"
            " among"
            " the `projects` of cohort_destinations/crm.yaml.",
            id="another project's destination",
        ),
        pytest.param(
            {"user_property": "plan"},
            "syncs.0.destination: destination crm adds the property plan, which the cohort lacks. Allowed:"
            " plan"
            " among the `properties` of cohorts/delayed.yaml.",
            id="the destination's property",
        ),
        pytest.param(
            {"match_by": "email"},
            "syncs.0.destination: destination crm matches by the property email, which the cohort lacks."
            " Allowed: email among the `properties` of cohorts/delayed.yaml.",
            id="the matching property",
        ),
    ],
)
def test_a_sync_that_its_destination_does_not_take_is_named(ready, destination, problem):
    ready.s3(**destination)
    ready.cohort({})
    text = ready.only_problem()
    assert text.startswith("cohorts/delayed.yaml, line ")
    assert problem in text


@pytest.mark.parametrize("format", ["%Y-%m-%dT%H-%S", "%Y-%m-%dT%H:%S"])
def test_runs_by_hand_need_names_with_minutes(ready, format):
    ready.s3(timestamp_format=format)
    ready.cohort({"cadence": "one_time"})
    assert (
        "syncs.0.cadence: the file names of crm lack the minutes, so two runs by hand within an hour could"
        " write"
        " the same names. Allowed: hourly or daily; or a timestamp_format with minutes in"
        " cohort_destinations/crm.yaml." in ready.only_problem()
    )
    ready.cohort({"cadence": "daily"})
    assert problems(ready) == []


def test_syncs_that_could_write_one_name_are_both_refused(ready):
    """An hourly and a daily sync have one as-of time at midnight (decisions K-1)."""
    ready.cohort(
        {"routing_key": "x"}, {"id": "nightly", "cadence": "daily", "routing_key": "x", "enabled": False}
    )
    first, second = problems(ready)
    assert (
        "syncs.0.routing_key: would write the same files as nightly in cohorts/delayed.yaml:"
        " s3://people-bucket/10_delayed_…_x.csv. Allowed: another routing_key, or a destination with another"
        " path or bucket, for one of them." in first
    )
    assert "syncs.1.routing_key: would write the same files as delayed_crm in cohorts/delayed.yaml" in second
    assert ready.load().syncs == ()


def test_two_destinations_on_one_folder_are_one_place(ready):
    ready.s3("other", name="Other")
    ready.cohort({}, {"id": "again", "destination": "other"})
    assert ["syncs.0.destination" in text for text in problems(ready)] == [True, False]
    ready.s3("other", name="Other", path="elsewhere")
    assert problems(ready) == []


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"routing_key": "y"}, id="another routing key"),
        pytest.param({"destination": "ads"}, id="a stream"),
    ],
)
def test_syncs_with_names_of_their_own_go_together(ready, second):
    ready.cohort({}, {"id": "second", **second})
    assert problems(ready) == []
    assert len(ready.load().syncs) == 2


def test_two_syncs_of_a_cohort_to_one_stream_are_both_refused(ready):
    ready.kinesis("other", name="Other")
    ready.cohort({"destination": "ads"}, {"id": "second", "destination": "other", "cadence": "real_time"})
    first, second = problems(ready)
    assert (
        "syncs.0.destination: would send messages of one cohort to the stream people beside second in"
        " cohorts/delayed.yaml: they do not name their sync, so nobody could tell the two apart. Allowed: a"
        " destination with another stream for one of them." in first
    )
    assert "beside delayed_crm in cohorts/delayed.yaml" in second
    assert ready.load().syncs == ()


@pytest.mark.parametrize("keys", [{"stream": "other-people"}, {"region": "eu-west-1"}])
def test_streams_of_their_own_go_together(ready, keys):
    ready.kinesis("other", name="Other", **keys)
    ready.cohort({"destination": "ads"}, {"id": "second", "destination": "other"})
    assert problems(ready) == []


def test_another_cohort_has_other_names(ready):
    ready.cohort({})
    ready.cohort({"id": "late_crm"}, file="late", id="late")
    assert problems(ready) == []


def test_a_taken_sync_id_is_refused_wherever_it_is(ready):
    ready.cohort({})
    ready.cohort({"destination": "ads"}, file="late", id="late")
    first, second = problems(ready)
    assert first.startswith("cohorts/delayed.yaml, line ")
    assert (
        "syncs.0.id: delayed_crm is also the id of delayed_crm in cohorts/late.yaml. Allowed: an id of its"
        " own." in first
    )
    assert "delayed_crm is also the id of delayed_crm in cohorts/delayed.yaml" in second


def test_two_cohorts_of_one_id_are_both_refused(ready):
    ready.cohort({})
    ready.cohort({"id": "other"}, file="late")
    config = ready.load()
    assert [str(problem).split(". ")[0] for problem in config.problems] == [
        "cohorts/delayed.yaml, line 1: id: delayed is also the id of cohorts/late.yaml",
        "cohorts/late.yaml, line 1: id: delayed is also the id of cohorts/delayed.yaml",
    ]
    assert (config.cohorts, config.syncs) == ((), ())


def test_two_destinations_of_one_name_are_both_refused_with_their_syncs(ready):
    """Baselines hang on the name (decisions K-17), so it belongs to one destination, bucket or stream."""
    ready.kinesis(name="CRM")
    ready.cohort({})
    found = problems(ready)
    assert [text.split(". ")[0] for text in found] == [
        "cohorts/delayed.yaml, line 11: syncs.0.destination: destination crm has a problem of its own",
        "cohort_destinations/ads.yaml, line 2: name: CRM is also the name of cohort_destinations/crm.yaml",
        "cohort_destinations/crm.yaml, line 2: name: CRM is also the name of cohort_destinations/ads.yaml",
    ]
    assert "Allowed: a name of its own: baselines hang on it." in found[1]


def test_a_sync_to_a_file_with_a_mistake_is_left_out_alone(ready):
    ready.s3(bukcet="x")
    ready.cohort({}, {"id": "delayed_ads", "destination": "ads"})
    config = ready.load()
    assert [sync.id for sync in config.syncs] == ["delayed_ads"]
    assert [cohort.id for cohort in config.cohorts] == ["delayed"]
    unknown, reference = map(str, config.problems)
    assert "cohort_destinations/crm.yaml, line 8: bukcet: unknown key; did you mean bucket?" in unknown
    assert "destination crm has a problem of its own. Allowed: ads." in reference


def test_a_cohort_of_an_unknown_project_takes_its_syncs_with_it(ready):
    ready.s3(projects=[10, 12])
    ready.cohort({}, project=12)
    keys = [text.split(" is not ")[0] for text in problems(ready) if "is not in projects.yaml" in text]
    assert keys == [
        "cohorts/delayed.yaml, line 4: project: project 12",
        "cohort_destinations/crm.yaml, line 7: projects.1: project 12",
    ]
    assert ready.load().syncs == ()


def test_a_file_of_ids_must_be_there_and_lie_in_the_folder(ready, tmp_path):
    ready.cohort({}, sql=None, ids_file="vips.csv", properties=[])
    text = ready.only_problem()
    assert (
        "ids_file: there is no file cohorts/vips.csv. Allowed: the name of a file that you put there." in text
    )
    outside = tmp_path / "vips.csv"
    outside.write_text("user_id\na\n")
    (ready.path / "cohorts/vips.csv").symlink_to(outside)
    text = ready.only_problem()
    assert "ids_file: cohorts/vips.csv is a link to a file outside of cohorts/. Allowed: a file that" in text
    (ready.path / "cohorts/vips.csv").unlink()
    (ready.path / "cohorts/vips.csv").write_text("user_id\na\n")
    assert problems(ready) == []
    ready.cohort({}, sql=None, ids_file="vip.csv", properties=[])
    assert "there is no file cohorts/vip.csv. Allowed: vips.csv." in ready.only_problem()


def test_a_disabled_destination_is_no_mistake_and_disables_its_syncs(ready):
    ready.s3(enabled=False)
    ready.kinesis("other", name="Other", stream="other")
    ready.cohort(
        {}, {"id": "on", "destination": "ads"}, {"id": "off", "destination": "other", "enabled": False}
    )
    config = ready.load()
    assert config.problems == ()
    assert {sync.id: sync.enabled for sync in config.syncs} == {
        "delayed_crm": False,
        "on": True,
        "off": False,
    }


class TestPortfolio:
    """Project 30 looks at 10 and 11 (decisions K-16)."""

    def test_columns_are_by_property_and_project_in_the_order_of_the_sources(self, ready):
        ready.s3(projects=[30], user_property="visits")
        ready.cohort({"user_properties": ["city", "visits"]}, project=30)
        config = ready.load()
        assert config.problems == ()
        assert config.property_columns(config.cohort("delayed")) == (
            *("city (Ten)", "city (Eleven)"),
            *("visits (Ten)", "visits (Eleven)"),
        )
        assert config.sync("delayed_crm").properties == (
            *("visits (Ten)", "visits (Eleven)"),
            *("city (Ten)", "city (Eleven)"),
        )

    def test_members_are_matched_by_one_of_the_columns(self, ready):
        ready.s3(projects=[30], match_by="city")
        ready.cohort({}, project=30)
        assert (
            "destination crm matches by the property city, which the cohort lacks. Allowed: user_id,"
            " city (Ten), city (Eleven), visits (Ten), visits (Eleven)." in ready.only_problem()
        )
        ready.s3(projects=[30], match_by="city (Eleven)")
        assert problems(ready) == []

    def test_projects_of_one_name_would_give_columns_of_one_name(self, ready):
        projects = ready.path / "projects.yaml"
        projects.write_text(projects.read_text().replace("Eleven", "Ten"))
        ready.s3(projects=[30])
        ready.cohort({}, project=30)
        assert (
            "properties: portfolio 30 looks at several projects of the name Ten, which would give several"
            " columns"
            " one name. Allowed: a name of its own for each of the projects, in projects.yaml."
            in ready.only_problem()
        )
        ready.cohort({}, project=30, properties=[])
        assert problems(ready) == []
