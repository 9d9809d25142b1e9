"""The checks of the soak notice what they are there for."""

from pathlib import Path

import dagster as dg
import pytest

from sort_assets.config.settings import Roots
from sort_assets.platform.store.store import Store
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.store.writers import publish
from sort_assets_tests.soak.checks import _materializations
from sort_assets_tests.soak.stories import Materialized, RunStory


@pytest.mark.parametrize(
    ("made_by", "taken_from", "follows", "wrong"),
    [
        ("this", "", [], None),
        ("this", "this", [], None),
        ("before", "before", ["before"], None),
        ("before", "before", ["later", "before"], None),
        ("before", "", [], "another run made it than this"),
        ("other", "other", ["before"], "took sorting of rec over from other, which it does not follow"),
    ],
)
def test_a_version_is_of_its_run_or_of_one_that_this_follows(
    tmp_path: Path, made_by: str, taken_from: str, follows: list[str], wrong: str | None
) -> None:
    home = Home(tmp_path, Roots(tmp_path / "recordings", tmp_path / "store"), {})
    version = publish(Store(home.roots.store), "sorting", run_id=made_by).manifest.version
    story = RunStory("this", "rec", "sort_recording", dg.DagsterRunStatus.SUCCESS, follows=follows)
    story.materialized = [Materialized("sorting", version, 0.0, after_end=False, taken_from=taken_from)]

    found = list(_materializations(home, [story]))

    assert found == [] if wrong is None else (len(found) == 1 and wrong in found[0])
