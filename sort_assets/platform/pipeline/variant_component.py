"""The Dagster component by which variants are declared, and how the code location finds the declarations."""

from typing import Any

import dagster as dg
from dagster.components import Scaffolder, ScaffoldRequest, scaffold_with
from pydantic import BaseModel

from sort_assets.config.variant_names import VARIANT_TYPE
from sort_assets.config.variants import Variant, VariantForm, variants_of_form
from sort_assets.platform.pipeline.assets.variants import variant_assets
from sort_assets.platform.pipeline.config_resolver import backend_resource
from sort_assets.platform.pipeline.io_manager import HandleIOManager

_EXAMPLE = f"""\
type: {VARIANT_TYPE}

attributes:
  # The recordings on which it is tried: patterns of paths below the recordings root, as in a .gitignore.
  recordings: ["*"]
  # What differs from the recordings' own settings.
  sorter:
    name: kilosort4
    params:
      Th_universal: 8
  # Each combination of these parameters is a variant of its own:
  # grid:
  #   Th_universal: [7, 8, 9]
"""

RESOURCES = {"backend": backend_resource, "io_manager": HandleIOManager()}
"""What the assets of variants need."""


class VariantScaffolder(Scaffolder[BaseModel]):
    """Writes a declaration that says what can be declared."""

    def scaffold(self, request: ScaffoldRequest[BaseModel]) -> None:
        """Write `defs.yaml` into the new folder."""
        request.target_path.mkdir(parents=True, exist_ok=True)
        (request.target_path / "defs.yaml").write_text(_EXAMPLE, encoding="utf-8")


@scaffold_with(VariantScaffolder)
class SortingVariant(dg.Component):
    """Another sorter, or other parameters of the sorter, tried on recordings beside their own sorting.

    Every variant is an asset of its own, partitioned by recording, and is made on demand from the `.dat` that the
    recording's own sorting was made from. The asset `sorting_variants` compares them.

    Attributes
    ----------
    variants : tuple of Variant
    """

    def __init__(self, variants: tuple[Variant, ...]) -> None:
        self.variants = variants

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """What may stand under `attributes`."""
        return VariantForm

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "SortingVariant":
        """The component that a `defs.yaml` describes; the name of its folder names it.

        Raises
        ------
        RulesError
            When that can't be.
        """
        form = attributes if isinstance(attributes, VariantForm) else VariantForm()
        sorter: dict[str, Any] = {} if form.sorter is None else form.sorter.model_dump(exclude_unset=True)
        name = context.path.name if context.path.suffix == "" else context.path.parent.name
        return cls(variants_of_form(form, sorter, str(context.path), name))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Two assets for each variant, and the resources that they need."""
        assets = [asset for variant in self.variants for asset in variant_assets(variant)]
        return dg.Definitions(assets=assets, resources=RESOURCES)
