"""A rule is added to a rules file, and all that stood in it stays."""

import pytest

from sort_assets.config.rules import RULES_FILE, parse_rules
from sort_assets.config.rules_edit import with_rule
from sort_assets.config.yaml_lines import read_yaml
from sort_assets.errors import RulesError

RULE = {"sorter": {"name": "kilosort4", "params": {"Th_universal": 7.5, "shape": [1, 2], "text": "1", "no": None}}}
FILE = b"""# our lab
arrival: {quiet_s: 30}  # short

rules:
  - match: mouse1/  # the first
    sorter: {params: {Th_universal: 8}}
    session: {lab: no}
  - match: ["*.h5", "!x.h5"]
    subject: {subject_id: "007"}
"""


@pytest.mark.parametrize(
    "content", [FILE, b"", b"# only words\n", b"rules:\n", b"rules: []\n", b"arrival: {quiet_s: 1}\n"]
)
def test_the_new_rule_is_the_last_and_the_others_say_what_they_said(content: bytes) -> None:
    new = with_rule(content, ["mouse1/"], RULE, "Variant th_7")

    before, after = (read_yaml(text, RULES_FILE).value or {} for text in (content, new))
    assert after["rules"] == [*(before.get("rules") or []), {"match": ["mouse1/"], **RULE}]
    assert after.get("arrival") == before.get("arrival")
    assert b"# Variant th_7" in new
    for comment in (b"# our lab", b"# short", b"# the first", b"# only words"):
        assert (comment in new) == (comment in content)
    resolved = parse_rules(new, RULES_FILE).for_path("mouse1/a.h5").resolve("kilosort4")
    assert resolved.config.sorter.params["Th_universal"] == 7.5


def test_a_rule_with_a_mistake_is_refused() -> None:
    with pytest.raises(RulesError, match="there is no such field"):
        with_rule(FILE, ["*"], {"sorter": {"nam": "x"}}, "c")
