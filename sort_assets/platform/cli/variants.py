"""The commands `variants list`, `variants sort` and `variants adopt`."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sort_assets.platform.cli.printing import (
    complain,
    errors_in_words,
    name_of,
    others_go_on,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from sort_assets.config.variants import DeclaredVariants, Variant

_COLUMNS = ("variant", "differs", "recordings", "sorted", "missing")


@click.group()
def variants() -> None:
    """Other sorters and other parameters, tried on recordings beside their own sorting."""


@variants.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_variants(as_json: bool) -> None:
    """Show the declared variants, and on how many recordings each was tried.

    They are declared below DAGSTER_HOME/variants (or SORT_ASSETS_VARIANTS). To declare one, run there:

        dg scaffold defs sort_assets.SortingVariant NAME

    edit variants/defs/NAME/defs.yaml, and start `sort-assets up` again.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.variant_requests import variant_states
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS

    with errors_in_words(), open_instance() as instance:
        declared = _declared()
        keys = sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
        states = variant_states(Roots.from_environment(), declared.all, keys)
    if as_json:
        print_json(
            {
                one.variant.name: {
                    "differs": dict(one.variant.sorter),
                    "sorted": one.sorted,
                    "missing": one.missing,
                    "without_dat": one.without_dat,
                }
                for one in states
            }
        )
    elif states:
        rows = [
            (
                one.variant.name,
                one.variant.words,
                ", ".join(one.variant.recordings),
                str(len(one.sorted)),
                str(len(one.missing) + len(one.without_dat)),
            )
            for one in states
        ]
        print_table(_COLUMNS, rows, wrapped={"differs", "recordings"})
    else:
        say("No variant is declared.")
    sys.exit(_complain_of_files(declared))


@variants.command("sort")
@click.argument("names", nargs=-1, metavar="[KEY_OR_PATH...]")
@click.option("--variant", "chosen", multiple=True, help="Only this variant; may be given several times.")
@click.option("--again", is_flag=True, help="Also what was sorted with the variant already.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sorted.")
def sort_variants(names: tuple[str, ...], chosen: tuple[str, ...], again: bool, dry_run: bool) -> None:
    """Sort recordings with the declared variants, behind everything else that waits; without names, all they choose.

    The sorts are a backfill in Dagster's UI, and need `sort-assets up` to be running, started after the variants were
    declared. A recording needs its .dat.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.arrivals.resolver import RecordingResolver
    from sort_assets.platform.arrivals.sensor import daemon_problem
    from sort_assets.platform.automation.variant_requests import request_variants, variant_states
    from sort_assets.platform.execution.home import open_instance
    from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS

    failed: list[str] = []
    with errors_in_words(), open_instance() as instance:
        declared, roots = _declared(), Roots.from_environment()
        wanted = [_named(declared, name) for name in chosen] if chosen else declared.all
        keys = sorted(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
        if names:
            resolver, found = RecordingResolver(instance, roots), set()
            for name in names:
                with others_go_on(name, failed):
                    found |= set(resolver.find(name).keys)
            keys = [key for key in keys if key in found]
        states = variant_states(roots, wanted, keys)
        missing = [(one.variant, [*one.missing, *(one.sorted if again else ())]) for one in states]
        for variant, some in missing:
            for key in some:
                say(f"{name_of(key)}: {variant.name}")
        for one in states:
            if one.without_dat:
                complain(f"{one.variant.name}: {len(one.without_dat)} recordings have no .dat; sort them first.")
        number = sum(len(some) for _, some in missing)
        if number and not dry_run:
            request_variants(instance, missing)
        problem = daemon_problem(instance) if number and not dry_run else None
    say(f"{number} sorts {'would be' if dry_run else 'are'} requested." if number else "Nothing is missing.")
    if problem:
        complain(problem)
    sys.exit(_complain_of_files(declared) or (1 if failed else 0))


@variants.command("adopt")
@click.argument("name", metavar="VARIANT")
@click.option(
    "--recordings", "patterns", multiple=True, help="For these recordings (patterns); by default those it chooses."
)
@click.option("--to", "file", type=click.Path(dir_okay=False, path_type=Path), help="Where the new rules are written.")
@click.option("--apply", is_flag=True, help="Put them in force. The old rules file stays beside the new one.")
def adopt(name: str, patterns: tuple[str, ...], file: Path | None, apply: bool) -> None:
    """Make a variant the way in which recordings are sorted: adds a rule to the rules file.

    Without --apply, the new rules are written to a file (by default sort_assets.VARIANT.yaml here), for a look at what
    they would change: `sort-assets what-if --rules FILE`.
    """
    from sort_assets.config.rules import RULES_FILE, rules_content
    from sort_assets.config.rules_edit import with_rule
    from sort_assets.config.settings import Roots
    from sort_assets.platform.pipeline.recording_rules import RecordingRules

    with errors_in_words():
        roots, variant = Roots.from_environment(), _named(_declared(), name)
        present = RecordingRules(roots)
        if present.problem is not None:
            raise present.problem
        comment = f"Variant {variant.name}, adopted on {datetime.now(UTC):%Y-%m-%d}"
        match = patterns or variant.recordings
        content = with_rule(rules_content(roots.recordings / RULES_FILE), match, variant.layer.overrides, comment)
        if not apply:
            file = file or Path(f"sort_assets.{variant.name}.yaml")
            file.write_bytes(content)
            say(f"The new rules are in {file}. Next: sort-assets what-if --rules {file}")
            return
        with tempfile.TemporaryDirectory() as folder:
            edited = Path(folder) / RULES_FILE
            edited.write_bytes(content)
            old = RecordingRules(roots, in_place_of_file=edited).replace_file(present)
    say(f"The rule is in force.{f' The old rules are in {name_of(str(old))}' if old else ''}")


def _declared() -> "DeclaredVariants":
    from sort_assets.config.settings import variants_folder
    from sort_assets.config.variants import declared_variants

    return declared_variants(variants_folder())


def _named(declared: "DeclaredVariants", name: str) -> "Variant":
    from sort_assets.errors import ConfigError

    variant = declared.named(name)
    if variant is None:
        known = ", ".join(one.name for one in declared.all) or "none"
        raise ConfigError(f"No variant '{name}' is declared.", remedy=f"Name one of these: {known}.")
    return variant


def _complain_of_files(declared: "DeclaredVariants") -> int:
    for problem in declared.problems.values():
        complain(str(problem))
    return 1 if declared.problems else 0
