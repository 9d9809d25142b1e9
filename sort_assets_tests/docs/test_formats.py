"""The page of formats names every format of the table, and everything that a scan can only name."""

import yaml

from sort_assets.config.rules import parse_rules
from sort_assets.recordings.formats.not_read import NOT_READ
from sort_assets.recordings.formats.table import FORMATS
from sort_assets_tests.docs.pages import REPOSITORY

PAGE = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")


def test_every_format_has_a_row() -> None:
    assert not [one.name for one in FORMATS if f"`{one.name}`" not in PAGE]


def test_what_nobody_reads_is_named() -> None:
    assert not [one.name for one in NOT_READ if f"`{one.name}`" not in PAGE]


def test_its_rules_are_valid() -> None:
    (rules,) = [block.removesuffix("```") for block in PAGE.split("```yaml\n")[1:]]
    text = rules.split("```")[0]

    assert parse_rules(text, "sort_assets.yaml").names_reader("mouse/HSW_1.bin") == "whitematter"
    assert yaml.safe_load(text)["rules"][1]["recording"]["arguments"] == {"stream_name": "raw"}
