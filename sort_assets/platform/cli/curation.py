"""Commands for manual curation: `export-phy`, `import-curation`, `carry-curation`."""

from dataclasses import asdict
from pathlib import Path

import click

from sort_assets.platform.cli.printing import complain, errors_in_words, name_of, print_json, print_table, say


@click.command("export-phy")
@click.argument("key")
@click.option("--folder", type=click.Path(path_type=Path), help="The folder to write; by default one in the store.")
@click.option("--pc-features", is_flag=True, help="Also export the data of Phy's feature view, which is slow.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export_phy(key: str, folder: Path | None, pc_features: bool, as_json: bool) -> None:
    """Export all units of a recording into a working folder for Phy, with their present labels.

    Save in Phy, then import the changes with `sort-assets import-curation KEY`. A folder with changes that were not
    imported is never overwritten.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.manual_curation import export_for_phy

    with errors_in_words():
        path = export_for_phy(Roots.from_environment(), key, _absolute(folder), pc_features=pc_features)
    if as_json:
        print_json({"recording": key, "folder": str(path)})
    else:
        say(f"Open it with: phy template-gui {path}/params.py\nThen: sort-assets import-curation {key}{_again(folder)}")


@click.command("import-curation")
@click.argument("key")
@click.option("--phy", "folder", type=click.Path(path_type=Path), help="The Phy folder, if it is not the default one.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="A curation in SpikeInterface's JSON format.")
@click.option(
    "--automatic", is_flag=True, help="Return to the automatic curation; imported decisions stay in the store."
)
@click.option("--replace", is_flag=True, help="Import even if that overrides another person's decisions.")
@click.option("--user", help="The person who decided; by default the current user.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_curation(
    key: str,
    folder: Path | None,
    path: Path | None,
    automatic: bool,
    replace: bool,
    user: str | None,
    as_json: bool,
) -> None:
    """Import a person's decisions about a recording's units, from Phy or in SpikeInterface's curation format.

    They become a new version, which nothing overwrites, and curated_units, spike_data and sorting_report are made again
    with them. "good" keeps a unit, "noise" rejects it, "mua" leaves the automatic decision as it is.
    """
    from sort_assets.platform.arrivals.sensor import launch_problem
    from sort_assets.platform.automation import manual_curation
    from sort_assets.platform.execution.home import open_instance, prepare_home

    if sum([folder is not None, path is not None, automatic]) > 1:
        raise click.UsageError("Name one of --phy, --file and --automatic.")
    with errors_in_words():
        roots = prepare_home()
        with open_instance() as instance:
            if automatic:
                imported = manual_curation.back_to_automatic(instance, roots, key)
            elif path is not None:
                imported = manual_curation.import_json(instance, roots, key, path.resolve(), user=user, replace=replace)
            else:
                imported = manual_curation.import_phy(
                    instance, roots, key, _absolute(folder), user=user, replace=replace
                )
            trouble = imported.trouble or launch_problem(instance)
    if as_json:
        print_json(asdict(imported))
    else:
        done = ", ".join(imported.steps) or "back to the automatic curation"
        when = "" if trouble else " It is applied at the next tick of the sensor new_recordings."
        say("\n".join([f"{key}: {done}.{when}", *imported.notes]))
    if trouble:
        complain(trouble)


@click.command("carry-curation")
@click.argument("key")
@click.option("--file", "path", type=click.Path(path_type=Path), help="The file to write; by default one in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def carry_curation(key: str, path: Path | None, as_json: bool) -> None:
    """Suggest what a person decided of an earlier sorting for the units of the present one that are the same.

    Writes a file in SpikeInterface's curation format, and applies nothing: look at it, correct it, and import it with
    `sort-assets import-curation KEY --file FILE`.
    """
    from sort_assets.config.settings import Roots
    from sort_assets.platform.automation.carried_curation import carry_over
    from sort_assets.platform.execution.home import open_instance

    with errors_in_words(), open_instance() as instance:
        carried = carry_over(instance, Roots.from_environment(), key, _absolute(path))
    if as_json:
        print_json({**asdict(carried), "path": str(carried.path)})
        return
    rows = [
        (
            one.before,
            one.decision,
            ": ".join(filter(None, (one.fate, ", ".join(one.now)))),
            "" if one.agreement is None else f"{one.agreement:.2f}",
            "yes" if one.suggested else "no",
        )
        for one in carried.decisions
    ]
    if rows:
        print_table(("unit", "decision", "now", "agreement", "suggested"), rows, wrapped={"decision", "now"})
    number = sum(one.suggested for one in carried.decisions)
    say(f"{number} of {len(rows)} decisions of {carried.user} are suggested in '{name_of(str(carried.path))}'.")
    say(f"Look at them, and then: sort-assets import-curation {key} --file {carried.path}")


def _absolute(folder: Path | None) -> Path | None:
    return None if folder is None else folder.resolve()


def _again(folder: Path | None) -> str:
    return "" if folder is None else f" --phy {folder}"
