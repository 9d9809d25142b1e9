"""Declarations of variants: what they mean, what is refused with which words, and the grid."""

from pathlib import Path

import pytest

from sort_assets.config.variants import MAX_VARIANTS, declared_variants, parse_variants
from sort_assets.errors import RulesError

HEAD = "type: sort_assets.SortingVariant\n"


def test_a_declaration_without_a_grid_is_one_variant_named_as_its_folder() -> None:
    (variant,) = parse_variants(
        f"{HEAD}attributes: {{recordings: mouse1/, sorter: {{name: lupin, params: {{a: 1}}}}}}", "f", "other"
    )

    assert (variant.name, variant.asset, variant.units_asset) == ("other", "variant_other", "variant_other_units")
    assert variant.layer.overrides == {"sorter": {"name": "lupin", "params": {"a": 1}}}
    assert variant.chooses("mouse1/day1.nwb")
    assert not variant.chooses("mouse2/day1.nwb")
    assert variant.words == "sorter lupin, a 1"


def test_each_combination_of_a_grid_is_a_variant_with_the_other_parameters_too() -> None:
    found = parse_variants(
        f"{HEAD}attributes: {{sorter: {{params: {{c: 0}}}}, grid: {{a: [1, 2.5], b: [true]}}}}", "f", "grid"
    )

    assert {one.name: one.sorter["params"] for one in found} == {
        "grid_1_true": {"c": 0, "a": 1, "b": True},
        "grid_2_5_true": {"c": 0, "a": 2.5, "b": True},
    }


def test_values_that_give_the_same_name_are_numbered() -> None:
    found = parse_variants(f"{HEAD}attributes: {{grid: {{a: [-1, 1]}}}}", "f", "sign")

    assert [one.name for one in found] == ["sign_1", "sign_2"]
    assert [one.sorter["params"]["a"] for one in found] == [-1, 1]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("type: other.Component\n", "v", "line 1, column 7: type: should be"),
        (f"{HEAD}attributes: {{sorter: {{nam: x}}}}", "v", "line 2, column 23: .*there is no such field; the nearest"),
        (f"{HEAD}attributes: {{recordings: []}}", "v", "line 2.*should not be empty"),
        (f"{HEAD}attributes: {{}}", "v", "nothing differs"),
        (HEAD, "v", "nothing differs"),
        (f"{HEAD}attributes: {{grid: {{a: []}}}}", "v", "no values for a"),
        (f"{HEAD}attributes: {{grid: {{a: 3}}}}", "v", "should be a list"),
        (f"{HEAD}attributes: {{grid: {{a: {list(range(MAX_VARIANTS + 1))}}}}}", "v", "101 combinations"),
        (f"{HEAD}attributes: {{sorter: {{name: x}}}}", "My variant", "can't name a variant"),
        (f"{HEAD}attributes: {{sorter: {{name: x}}}}", "two_units", "can't name a variant"),
        ("a: [", "v", "line 1"),
    ],
)
def test_a_mistake_is_refused_with_its_place_or_reason(text: str, name: str, message: str) -> None:
    with pytest.raises(RulesError, match=message):
        parse_variants(text, "v/defs.yaml", name)


def test_a_file_with_a_mistake_and_a_name_that_is_taken_leave_the_others(tmp_path: Path) -> None:
    declarations = {
        "a/defs/good/defs.yaml": f"{HEAD}attributes: {{sorter: {{name: lupin}}}}",
        "b/defs/good/defs.yaml": f"{HEAD}attributes: {{sorter: {{name: kilosort4}}}}",
        "a/defs/bad/defs.yaml": f"{HEAD}attributes: {{sorter: 3}}",
    }
    for name, text in declarations.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    declared = declared_variants(tmp_path)

    assert [one.sorter["name"] for one in declared.all] == ["lupin"]
    assert declared.named("variant_good_units") == declared.named("good") is not None
    assert {file.relative_to(tmp_path).as_posix() for file in declared.problems} == {
        "a/defs/bad/defs.yaml",
        "b/defs/good/defs.yaml",
    }


def test_a_folder_that_is_not_there_declares_nothing(tmp_path: Path) -> None:
    assert declared_variants(tmp_path / "none").all == ()
