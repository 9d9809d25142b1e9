"""Reading YAML: plain values with their places, and mistakes and attacks refused with theirs."""

import time

import pytest

from sort_assets.config.yaml_lines import MAX_BYTES, Position, read_yaml
from sort_assets.errors import RulesError


def test_everything_has_its_line_and_column() -> None:
    located = read_yaml("first: 1\nmäuse:\n  - name: Mäuschen  # a comment\n    'weight g': 25.5\n", "rules")

    assert located.value == {"first": 1, "mäuse": [{"name": "Mäuschen", "weight g": 25.5}]}
    assert located.keys["mäuse", 0, "weight g"] == Position(4, 5)
    assert located.values["mäuse", 0, "weight g"] == Position(4, 17)
    assert located.position(("mäuse", 0, "missing")) == Position(3, 5)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("10:30", "10:30"),
        ("2024-05-01", "2024-05-01"),
        ("'12'", "12"),
        ("12", 12),
        ("-3.5", -3.5),
        ("1e-3", 0.001),
        ("true", True),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_word_means_what_it_says(written: str, meant: object) -> None:
    value = read_yaml(f"key: {written}", "rules").value["key"]

    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(("text", "value"), [("", None), ("# nothing yet\n", None), ("\ufeffa: b", {"a": "b"})])
def test_an_empty_text_and_a_byte_order_mark_are_fine(text: str, value: object) -> None:
    assert read_yaml(text.encode(), "rules").value == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: 1", "line 2, column 1: a tab; indent with spaces"),
        ("a: b: c", "line 1, column 5: .*second ':' in one line"),
        ("- a: 1\n b: 2", "line 2, column 2: .*wrong indentation"),
        ("a: 'open\nb: 1\n", "line 1, column 4: a quote that begins here does not end"),
        ("a: *.h5", "line 1, column 4: .*must stand in quotes"),
        ("a: !x.h5", r"line 1, column 4: tags \(!x.h5\) are not read; .*in quotes"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4: tags"),
        ("a: &rate 5\nb: *rate", "line 1, column 4: anchors"),
        ("? [a]\n: b", "line 1, column 3: a key must be a word"),
        ("a: 1\n---\nb: 1", "line 2, column 1: a second document"),
        ("a: \x01", "line 1, column 4: a character that YAML does not allow"),
        ("é\nüb: \x01", "line 2, column 5: a character"),
        (b"a: b\nc: \xff", "line 2, column 4: the file is not UTF-8"),
        ("a: b".encode("utf-16"), "line 1, column 1: the file is not UTF-8"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(RulesError, match=message):
        read_yaml(text, "rules")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: .nan", "a: should be a finite number"),
        ("a: [1, -.inf]", "a: should be a finite number"),
        ("a: 1e999", "a: should be a finite number"),
        (f"a: {'9' * 5000}", "a: should be a finite number"),
        ("a: {b: 1, c: 2, b: 3}", "a.b: stands here twice, first in line 1"),
    ],
)
def test_other_mistakes_are_collected(text: str, message: str) -> None:
    (problem,) = read_yaml(text, "rules").problems

    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "x" * MAX_BYTES,
        "[" * (MAX_BYTES - 1),
        "{a: " * 249_000,
        "- " * 499_000,
        "[" + "1," * 400_000 + "]",
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
    ],
    ids=["long", "deep lists", "deep mappings", "deep items", "many values", "aliases of aliases"],
)
def test_a_hostile_text_is_refused_quickly(text: str) -> None:
    start = time.process_time()

    with pytest.raises(RulesError):
        read_yaml(text, "rules")

    assert time.process_time() - start < 10
