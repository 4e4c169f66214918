import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.config.document import MAX_BYTES, DocumentError, read_document


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_document(path, "x.yaml")


def refusal(path, content):
    with pytest.raises(DocumentError) as caught:
        read(path, content)
    return str(caught.value.problem)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.yaml"


def test_values_come_with_their_lines(path):
    document = read(path, "a: 1\nb:\n  - x\n  - c: true\n")
    assert document.content == {"a": 1, "b": ["x", {"c": True}]}
    assert [document.line(at) for at in [("a",), ("b", 0), ("b", 1, "c"), ("b", 7), ("z",)]] == [
        1,
        3,
        4,
        2,
        None,
    ]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        pytest.param("id: a\nbucket: b\nid: c\n", 3, "twice, first in line 1", id="doubled key"),
        pytest.param("a: &x [1]\nb: *x\n", 1, "anchors and aliases", id="alias"),
        pytest.param("a: !!python/object/apply:os.getcwd []\n", 1, "tag", id="python object"),
        pytest.param("a: !!binary aGVsbG8=\n", 1, "tag", id="binary"),
        pytest.param("a: 1\nb: 2013-02-30\n", 2, "not a value", id="impossible date"),
        pytest.param("a: !!timestamp 'soon'\n", 1, "not a time", id="no time"),
        pytest.param("a: [1\nb: 2\n", 2, "not YAML", id="broken syntax"),
        pytest.param("- a\n- b\n", 1, "not made of keys and values", id="list"),
        pytest.param("a: 1\n---\nb: 2\n", None, "not YAML", id="two documents"),
        pytest.param("a: " + "[" * 100_000, 1, "levels deep", id="deep"),
        pytest.param("a: 1\n[b]: 2\n", 2, "a key is text", id="key that is a list"),
        pytest.param('"\\e[31m": 1\n', 1, "control characters", id="terminal codes in a key"),
        pytest.param("<<: {a: 1}\na: 2\n<<: {b: 1}\n", 3, "twice", id="merge key is a plain key"),
        pytest.param(b"a: 1\nb: \xff\n", 2, "not UTF-8", id="encoding"),
    ],
)
def test_a_refusal_names_the_line_and_the_reason(path, content, line, words):
    message = refusal(path, content)
    assert words in message
    assert message.startswith(f"x.yaml, line {line}: " if line else "x.yaml")


def test_an_empty_a_missing_and_an_oversized_file_are_refused(path, tmp_path):
    assert "empty" in refusal(path, "# nothing but a comment\n")
    assert "too large" in refusal(path, "a: " + "x" * MAX_BYTES)
    with pytest.raises(DocumentError, match="cannot be read: No such file"):
        read_document(tmp_path / "gone.yaml", "gone.yaml")


def test_an_alias_bomb_is_refused_before_it_grows(path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "anchors and aliases" in refusal(path, "\n".join(lines))


class WithoutAliases(yaml.SafeDumper):
    """Writes a list that occurs twice out twice."""

    def ignore_aliases(self, data):
        return True


# Line ends within a text are the YAML writer's affair: it folds U+0085.
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(content=st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), PLAIN, min_size=1, max_size=4))
def test_whatever_yaml_writes_is_read_back(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    text = yaml.dump(content, Dumper=WithoutAliases, allow_unicode=True)
    assert read(path, text).content == content


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.text(alphabet="ab:- \n[]{}&*!'\"#|>%@,?0", max_size=60))
def test_any_bytes_give_a_document_or_a_problem(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    try:
        outcome = read(path, content).content
    except DocumentError as error:
        outcome = error.problem
    assert isinstance(outcome, dict) or outcome.file == "x.yaml"
