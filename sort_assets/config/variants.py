"""Variants: other sorters and other parameters that are tried on recordings beside their own sorting.

Each is declared in a folder of its own, in the `defs.yaml` that Dagster's `dg scaffold defs` writes:

    type: sort_assets.SortingVariant
    attributes:
      recordings: [mouse1/]
      sorter: {name: kilosort4}
      grid: {Th_universal: [7, 8, 9]}
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from sort_assets.config.layers import ConfigLayer
from sort_assets.config.model import SorterConfig
from sort_assets.config.patterns import PathPatterns, as_folder
from sort_assets.config.rules import rules_content
from sort_assets.config.rules_schema import Match, read_form
from sort_assets.config.section import Section
from sort_assets.config.sparse import SparseSection, sparse_model
from sort_assets.config.variant_names import UNITS_SUFFIX, VARIANT_FILE, VARIANT_PREFIX
from sort_assets.errors import RulesError

MAX_VARIANTS: Final = 100
"""Of one declaration: a grid is sorted by one GPU, recording by recording."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST_NAME = 60

SparseSorter: Any = sparse_model(SorterConfig)


class VariantForm(Section):
    """What a declaration says."""

    recordings: Match = Field(
        ("*",),
        description="Patterns, as in a .gitignore, of the recordings on which the variant is tried: paths relative to "
        "the recordings root.",
    )
    sorter: SparseSorter | None = Field(
        None, description="What differs from the recordings' own settings of the sorter: name, params, device."
    )
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Parameters of the sorter with the values to try; each combination is a variant of its own.",
    )


class _DefsForm(SparseSection):
    type: Literal["sort_assets.SortingVariant"] = Field(..., description="The component's type.")
    attributes: VariantForm | None = Field(None, description="The variant.")


@dataclass(frozen=True)
class Variant:
    """One way to sort recordings that differs from how they are sorted.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and underscores.
    recordings : tuple of str
        Patterns of the recordings' paths, as in a ``.gitignore``.
    sorter : Mapping
        What differs in the section `sorter` of the configuration.
    """

    name: str
    recordings: tuple[str, ...] = ("*",)
    sorter: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asset(self) -> str:
        """The asset with its sortings."""
        return f"{VARIANT_PREFIX}{self.name}"

    @property
    def units_asset(self) -> str:
        """The asset with the waveforms, metrics and decisions of their units."""
        return f"{self.asset}{UNITS_SUFFIX}"

    @property
    def layer(self) -> ConfigLayer:
        """What it changes in a recording's configuration."""
        return ConfigLayer(f"variant {self.name}", {"sorter": dict(self.sorter)})

    @property
    def words(self) -> str:
        """What differs, for people."""
        said = {
            ("sorter" if name == "name" else name): value for name, value in self.sorter.items() if name != "params"
        }
        return ", ".join(f"{name} {value}" for name, value in {**said, **self.sorter.get("params", {})}.items())

    def chooses(self, relative: str) -> bool:
        """Whether it is tried on a recording, named by its path relative to the recordings root."""
        return self._patterns.match(as_folder(relative))

    @cached_property
    def _patterns(self) -> PathPatterns:
        return PathPatterns(self.recordings)


@dataclass(frozen=True)
class DeclaredVariants:
    """The variants of a folder.

    Attributes
    ----------
    by_file : Mapping of Path to tuple of Variant
        In the order of their names.
    problems : Mapping of Path to RulesError
        What is wrong with other files, which declare nothing therefore.
    """

    by_file: Mapping[Path, tuple[Variant, ...]] = field(default_factory=dict)
    problems: Mapping[Path, RulesError] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Variant, ...]:
        """Those of all files."""
        return tuple(variant for some in self.by_file.values() for variant in some)

    def named(self, name: str) -> Variant | None:
        """The variant of a name, or of one of its assets."""
        name = name.removeprefix(VARIANT_PREFIX).removesuffix(UNITS_SUFFIX)
        return next((variant for variant in self.all if variant.name == name), None)


def declared_variants(folder: Path) -> DeclaredVariants:
    """Read all declarations below a folder; a file with a mistake leaves the others.

    Parameters
    ----------
    folder : Path
        One that is not there declares nothing.
    """
    by_file: dict[Path, tuple[Variant, ...]] = {}
    problems: dict[Path, RulesError] = {}
    names: dict[str, Path] = {}
    for file in sorted(folder.rglob(VARIANT_FILE)) if folder.is_dir() else ():
        source = file.relative_to(folder).as_posix()
        try:
            variants = parse_variants(rules_content(file), source, file.parent.name)
            for variant in variants:
                if variant.name in names:
                    raise _error(source, f"the variant '{variant.name}' is declared in {names[variant.name]} too")
            names |= {variant.name: file for variant in variants}
            by_file[file] = variants
        except RulesError as problem:
            problems[file] = problem
    return DeclaredVariants(by_file, problems)


def parse_variants(text: str | bytes, source: str, name: str) -> tuple[Variant, ...]:
    """Read a declaration.

    Parameters
    ----------
    text : str or bytes
        The content of its file.
    source : str
        Names the file in messages.
    name : str
        Of the folder in which it lies.

    Raises
    ------
    RulesError
        With all mistakes, each with its line and column; or where the grid has too many combinations.
    """
    form, located = read_form(text, source, _DefsForm)
    said = (located.value or {}).get("attributes") or {}
    return variants_of_form(form.attributes or VariantForm(), said.get("sorter") or {}, source, name)


def variants_of_form(form: VariantForm, sorter: Mapping[str, Any], source: str, name: str) -> tuple[Variant, ...]:
    """The variants of a declaration: one, or each combination of its grid.

    Parameters
    ----------
    form : VariantForm
    sorter : Mapping
        What the form says of the sorter, as plain values.
    source : str
        Names the file in messages.
    name : str
        Of the declaration.

    Raises
    ------
    RulesError
        When a name can't be that of an asset, there is nothing that differs, or there are too many combinations.
    """
    if not _NAME.fullmatch(name) or name.endswith(UNITS_SUFFIX):
        raise _error(
            source,
            f"'{name}' can't name a variant: use lower-case letters, digits and underscores, and no ending "
            f"'{UNITS_SUFFIX}'",
        )
    if not sorter and not form.grid:
        raise _error(source, "nothing differs: say so under sorter, or give a grid of the sorter's parameters")
    if empty := [parameter for parameter, values in form.grid.items() if not values]:
        raise _error(source, f"the grid has no values for {', '.join(empty)}")
    combinations = list(itertools.product(*form.grid.values()))
    if len(combinations) > MAX_VARIANTS:
        raise _error(source, f"the grid has {len(combinations)} combinations; {MAX_VARIANTS} is the most")
    found = []
    for values in combinations:
        params = {**sorter.get("params", {}), **dict(zip(form.grid, values, strict=True))}
        chosen = {**sorter, "params": params} if params else dict(sorter)
        full = "_".join([name, *map(_as_name, values)])[:_LONGEST_NAME]
        found.append(Variant(full, form.recordings, chosen))
    if len({variant.name for variant in found}) < len(found):  # values that differ in signs only, or are too long
        found = [Variant(f"{name}_{number}", one.recordings, one.sorter) for number, one in enumerate(found, 1)]
    return tuple(found)


def _as_name(value: Any) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_") or "none"


def _error(source: str, message: str) -> RulesError:
    return RulesError(f"{source}: {message}.", remedy="Correct the file; until then it declares no variants.")
