"""A rule is added to a rules file, whose comments and layout stay."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from sort_assets.config.rules import RULES_FILE, parse_rules
from sort_assets.config.yaml_lines import read_yaml
from sort_assets.errors import RulesError


def with_rule(content: bytes, match: Sequence[str], overrides: Mapping[str, Any], comment: str) -> bytes:
    """The content of a rules file with a further rule at its end, where it wins over the others.

    Parameters
    ----------
    content : bytes
        Of a rules file without mistakes; empty for none.
    match : sequence of str
        The patterns of the rule.
    overrides : Mapping
        What it says, nested like `SortingPipelineConfig`.
    comment : str
        Stands above it.

    Raises
    ------
    RulesError
        When the file can't be changed without changing what else it says, or would have a mistake then.
    """
    rule = {"match": list(match), **overrides}
    before = read_yaml(content, RULES_FILE).value or {}
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    try:
        loaded = yaml.load(content.decode("utf-8"))
        document = CommentedMap() if loaded is None else loaded
        rules = document.setdefault("rules", CommentedSeq())
        if rules is None:
            rules = document["rules"] = CommentedSeq()
        rules.append(_plain(rule))
        rules.yaml_set_comment_before_after_key(len(rules) - 1, before=comment, indent=2)
        stream = io.StringIO()
        yaml.dump(document, stream)
        comments = content.rstrip() + b"\n" if loaded is None and content.strip() else b""
        new = comments + stream.getvalue().lstrip().encode("utf-8")
        after = read_yaml(new, RULES_FILE).value
    except (YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise _by_hand(rule) from error
    if after != {**before, "rules": [*(before.get("rules") or []), json.loads(json.dumps(rule))]}:
        raise _by_hand(rule)
    parse_rules(new, RULES_FILE)
    return new


def _plain(value: Any) -> Any:
    """Mappings in block style, lists in a line."""
    if isinstance(value, Mapping):
        return CommentedMap({name: _plain(inner) for name, inner in value.items()})
    if isinstance(value, list | tuple):
        line = CommentedSeq([_plain(inner) for inner in value])
        line.fa.set_flow_style()
        return line
    return value


def _by_hand(rule: Mapping[str, Any]) -> RulesError:
    stream = io.StringIO()
    YAML().dump([_plain(rule)], stream)
    return RulesError(
        f"The rule can't be added to {RULES_FILE} without changing what else stands in it.",
        remedy=f"Add it by hand, at the end of its rules:\n{stream.getvalue()}",
    )
