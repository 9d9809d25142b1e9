"""The reference pages, made from the code: configuration, environment variables, troubleshooting."""

import inspect
import types
import typing
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from sort_assets import errors
from sort_assets.backends.any_sorter_failures import COMMON_FAILURES
from sort_assets.backends.failure_rules import Evidence, FailureRule
from sort_assets.backends.registry import backend_class, registered_backends
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.model import BinaryConfig
from sort_assets.config.resources import SortingResources, StepResources
from sort_assets.config.rules_schema import Arrival, DeclaredSettings
from sort_assets.config.session_facts import SessionFacts, SubjectFacts
from sort_assets.config.settings import Environment
from sort_assets.platform.pipeline.catalog import CATALOG

_UNITS = {
    "_hz": "Hz",
    "_uv": "µV",
    "_um": "µm",
    "_gb": "GB",
    "_percent": "%",
    "_temperature_c": "°C",
    "_minutes": "min",
    "_days": "days",
    "_bytes": "bytes",
    "_limit_h": "h",
    "_per_min_s": "s per minute of recording",
    "_s": "s",
}
_FREQUENCIES = ("freq_min", "freq_max")
_MILLISECONDS = ("ms_before", "ms_after")
_REQUIRED = ("recordings", "store", "dagster_home")


def configuration_page() -> str:
    """Every field of `SortingPipelineConfig`, a table per section."""
    parts = [
        "# Configuration",
        "Everything that decides how one recording is sorted. The same fields stand in the launchpad, in the rules "
        "file and in sidecars.",
    ]
    for name, info in SortingPipelineConfig.model_fields.items():
        parts += _section(name, typing.cast(type[BaseModel], info.annotation), str(info.description))
        if name == "resources":
            parts += _section("resources.sorting", SortingResources, "What the sort asks for.")
            parts += _section("resources of every other step, and of a run", StepResources, "The same without GPUs.")
            parts += _declared_needs()
        if name == "recording":
            parts += _section("recording.binary", BinaryConfig, "A plain binary file, which says nothing of itself.")
    parts += _section(
        "Rules and sidecars", DeclaredSettings, "What a rule or a sidecar can say besides the sections above."
    )
    parts += _section("arrival", Arrival, "When a recording counts as complete.")
    parts += _section("session", SessionFacts, "Facts about the session, for NWB.")
    parts += _section("subject", SubjectFacts, "Facts about the subject, for NWB.")
    return "\n\n".join(parts) + "\n"


def _declared_needs() -> list[str]:
    """What each step asks for by itself, a line per asset."""
    rows = [
        (f"`{asset.name}`", str(asset.needs.gpus), str(asset.needs.cpus), f"{asset.needs.memory_gb:g} GB")
        for asset in CATALOG
    ]
    return [
        "Where `resources` says nothing and nothing is known of the recording's shape, a step asks for:",
        _table(("Step", "GPUs", "CPUs", "Memory"), rows),
    ]


def environment_page() -> str:
    """Every environment variable of ours."""
    rows = [
        (
            f"`{field.validation_alias}`",
            _type(field),
            "required" if name in _REQUIRED else _default(field),
            str(field.description),
        )
        for name, field in Environment.model_fields.items()
    ]
    return "\n\n".join(
        [
            "# Environment variables",
            "They may stand in the `.env` file of the folder in which `sort-assets` runs, or of a folder above it.",
            _table(("Variable", "Type", "Default", "Meaning"), rows),
            "",
        ]
    )


def troubleshooting_page() -> str:
    """What failures mean and what to do: the classes of `errors.py`, and the failures that are recognised."""
    parts = [
        "# Troubleshooting",
        "A step that fails shows the class of its failure, what happened, and a remedy. The classes:",
        _table(("Class", "Meaning"), [(f"`{kind.__name__}`", inspect.getdoc(kind) or "") for kind in _error_classes()]),
    ]
    for title, rules in failure_rules_by_sorter().items():
        parts += [f"## {title}", _table(("Class", "What happened", "Remedy"), dict.fromkeys(map(_failure, rules)))]
    system = dict.fromkeys(errors.OS_FAILURES.values())
    rows = [(f"`{failure.kind.__name__}`", failure.happened, failure.remedy) for failure in system]
    parts += ["## The operating system", _table(("Class", "What happened", "Remedy"), rows)]
    return "\n\n".join(parts) + "\n"


def failure_rules_by_sorter() -> dict[str, tuple[FailureRule, ...]]:
    """The rules for any sorter, and those of each registered sorter by its name; sorters may share them."""
    sorters: dict[tuple[FailureRule, ...], list[str]] = {}
    for name in registered_backends():
        sorters.setdefault(getattr(backend_class(name), "failure_rules", ()), []).append(name)
    return {"Any sorter": COMMON_FAILURES} | {", ".join(names): rules for rules, names in sorters.items() if rules}


def _failure(rule: FailureRule) -> tuple[str, str, str]:
    if rule.kind is not None:
        return f"`{rule.kind.__name__}`", rule.message, rule.remedy
    match = rule.pattern.search(rule.example)
    assert match is not None, f"the example '{rule.example}' of a failure rule does not match its pattern"
    failure = rule.make(match, Evidence(rule.example))
    return f"`{type(failure).__name__}`", str(failure.message), str(failure.remedy)


def _section(name: str, model: type[BaseModel], description: str) -> list[str]:
    rows = [
        (f"`{field}`", _type(info), _default(info), _unit(field), str(info.description))
        for field, info in model.model_fields.items()
    ]
    return [f"## {name}", description, _table(("Field", "Type", "Default", "Unit", "Meaning"), rows)]


def _error_classes() -> Iterator[type[errors.SortAssetsError]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.SortAssetsError) and kind is not errors.SortAssetsError:
            yield kind


def _type(field: FieldInfo) -> str:
    if field.annotation is SecretStr:
        return "text (secret)"
    return f"`{_spelled(field.annotation)}`"


def _spelled(annotation: typing.Any) -> str:
    """An annotation without its checks, as Python spells it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _spelled(inner[0])
    if origin is typing.Literal:
        return " | ".join(map(repr, inner))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_spelled, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_spelled, inner))}]"
    return {type(None): "None", ...: "..."}.get(annotation) or getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, SecretStr) or value in ("", (), {}):
        return "empty"
    return "null" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _unit(name: str) -> str:
    if name in _FREQUENCIES:
        return "Hz"
    if name in _MILLISECONDS:
        return "ms"
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
