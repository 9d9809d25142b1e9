"""Dagster's migrations are read once by a process, however many instances it opens."""

import pytest
from alembic.script import revision

from sort_assets.platform.execution.migration_scripts import read_migrations
from sort_assets_tests.fixtures.home import Home


def test_an_instance_that_is_opened_reads_no_migration_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read_migrations()
    maps: list[object] = []
    add = revision.RevisionMap._map_branch_labels
    monkeypatch.setattr(
        revision.RevisionMap, "_map_branch_labels", lambda self, *given: (maps.append(self), add(self, *given))[1]
    )

    with home.instance() as instance:
        instance.get_runs(limit=1)
        instance.get_dynamic_partitions("")
        versions = {instance.run_storage.alembic_version(), instance.event_log_storage.alembic_version()}

    assert maps == []
    assert all(database == newest for database, newest in versions)
