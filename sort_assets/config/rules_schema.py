"""What may stand in a rules file and in a sidecar, and where in the file it does not."""

import difflib
import json
from collections.abc import Iterable
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, create_model

from sort_assets.config.model import SortingPipelineConfig
from sort_assets.config.patterns import check_pattern
from sort_assets.config.presets import PRESETS
from sort_assets.config.section import NonNegativeFloat, Section
from sort_assets.config.session_facts import SessionFacts, SubjectFacts, one_as_many
from sort_assets.config.sparse import SparseSection, fields_beside, sparse_model
from sort_assets.config.yaml_lines import LocatedYaml, Problem, YamlPath, field_name, read_yaml, rules_error

CONFIG_SECTIONS = tuple(SortingPipelineConfig.model_fields)

_KINDS = {
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "model_type": "should be a mapping of fields and values",
    "dict_type": "should be a mapping of names and values",
    "tuple_type": "should be a list",
    "missing": "is missing",
    "string_too_short": "should not be empty",
    "too_short": "should not be empty",
    "timezone_aware": "should have a time zone, such as 2024-05-01T10:00:00+02:00",
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
        "should be a date and time with its time zone, such as 2024-05-01T10:00:00+02:00",
    ),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "should be a date such as 2024-05-01"),
}
_LONGEST_SHOWN = 80
_YES_AND_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def _file_name(text: str) -> str:
    if text and "/" not in text:
        return text
    raise ValueError("should be the name of a file, without a folder")


class Arrival(Section):
    """When a recording counts as complete."""

    quiet_s: NonNegativeFloat = Field(
        60.0, description="Seconds for which nothing in the recording may change before it counts as complete."
    )
    marker: Annotated[str, AfterValidator(_file_name)] | None = Field(
        None,
        description=(
            "A file whose presence says that the recording is complete, instead of quiet_s: for a folder its name "
            "inside the folder, for a file the ending of its name beside the file; null waits for quiet_s."
        ),
    )


def _preset(name: str) -> str:
    if name in PRESETS:
        return name
    raise ValueError(f"there is no preset '{name}'{_nearest(name, PRESETS)}; all presets: {', '.join(sorted(PRESETS))}")


def _not_only_excluding(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if all(pattern.startswith("!") for pattern in patterns):
        raise ValueError("chooses nothing: a pattern with '!' only excludes from what the patterns before it chose")
    return patterns


StreamPatterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(one_as_many), Field(min_length=1)
]
Match = Annotated[
    tuple[Annotated[str, AfterValidator(check_pattern)], ...],
    BeforeValidator(one_as_many),
    Field(min_length=1),
    AfterValidator(_not_only_excluding),
]


class DeclaredSettings(SparseSection):
    """What a rule or a sidecar says about recordings, apart from the sections of the configuration."""

    preset: Annotated[str, AfterValidator(_preset)] | None = Field(None, description="Named starting point.")
    ignore: bool | None = Field(None, description="Leave these files and folders alone.")
    sort: bool | None = Field(None, description="Whether the sort is started; false only registers the recording.")
    concatenate: bool | None = Field(None, description="The files in the folder are one recording, in natural order.")
    streams: StreamPatterns | None = Field(None, description="Patterns of the streams to take; null takes all.")
    session: SessionFacts | None = Field(None, description="Facts about the session, for NWB.")
    subject: SubjectFacts | None = Field(None, description="Facts about the subject, for NWB.")


_arrival: Any = (sparse_model(Arrival) | None, Field(None, description="When a recording counts as complete."))
_sections: dict[str, Any] = {
    name: (sparse_model(cast(type[BaseModel], info.annotation)) | None, Field(None, description=info.description))
    for name, info in SortingPipelineConfig.model_fields.items()
}
SidecarForm: type[DeclaredSettings] = create_model(
    "SidecarForm", __base__=DeclaredSettings, arrival=_arrival, **_sections
)
RuleForm: type[DeclaredSettings] = create_model("RuleForm", __base__=SidecarForm, match=(Match, ...))
RulesForm: type[SparseSection] = create_model(
    "RulesForm",
    __base__=SparseSection,
    arrival=_arrival,
    rules=(tuple[RuleForm, ...] | None, None),
)


def read_form(text: str | bytes, source: str, form: type[BaseModel]) -> tuple[Any, LocatedYaml]:
    """Read a file and check it against a form.

    Returns
    -------
    form : BaseModel
        Only what the file says is set.
    located : LocatedYaml
        The same in plain values, with positions.

    Raises
    ------
    RulesError
        With all mistakes of the file, each with its line and column.
    """
    located = read_yaml(text, source)
    problems = list(located.problems)
    value = {} if located.value is None else located.value
    if not isinstance(value, dict):
        problems.append(Problem(located.position(()), f"should be a mapping: {', '.join(form.model_fields)}"))
        raise rules_error(source, problems)
    try:
        checked = form.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems += [_problem(located, form, dict(one)) for one in error.errors(include_url=False)]
        raise rules_error(source, problems) from None
    if problems:
        raise rules_error(source, problems)
    return checked, located


def _problem(located: LocatedYaml, form: type[BaseModel], error: dict[str, Any]) -> Problem:
    path: YamlPath = error["loc"]
    unknown = error["type"] == "extra_forbidden"
    message = _no_such_field(form, path) if unknown else _wrong_value(error)
    return Problem(located.position(path, of_key=unknown), f"{field_name(path)}: {message}")


def _no_such_field(form: type[BaseModel], path: YamlPath) -> str:
    name, beside = str(path[-1]), fields_beside(form, path)
    for section, model in beside.items():
        if section in CONFIG_SECTIONS and model is not None and name in model.model_fields:
            return f"there is no such field here; it belongs into '{section}'"
    return f"there is no such field{_nearest(name, beside) or '; fields here: ' + ', '.join(sorted(beside))}"


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; the nearest is '{near[0]}'" if near else ""


def _wrong_value(error: dict[str, Any]) -> str:
    kind, given = error["type"], error["input"]
    message = _KINDS.get(kind) or error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if kind == "string_type" and isinstance(given, bool | int | float):
        return f"{message}; put {json.dumps(given)} in quotes"
    if kind == "bool_type" and str(given).lower() in _YES_AND_NO:
        return f"{message}; write {_YES_AND_NO[given.lower()]} for {given}"
    if kind in ("int_type", "float_type") and isinstance(given, str):
        message = f"{message}, in decimal and without quotes or leading zeros"
    shown = json.dumps(given, ensure_ascii=False)
    if message.startswith("should") and not isinstance(given, dict | list | tuple) and len(shown) <= _LONGEST_SHOWN:
        return f"{message}, not {shown}"
    return message
