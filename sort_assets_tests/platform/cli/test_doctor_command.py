"""`sort-assets doctor`: what is wrong with rules and notifications, without a secret on the screen."""

import json
from dataclasses import replace

from sort_assets_tests.fixtures.home import Home


def test_mistakes_in_the_rules_and_in_a_notification_url_are_found(home: Home) -> None:
    (home.roots.recordings / "sort_assets.yaml").write_text("rules: [{match: '*', ignroe: true}]")
    home = replace(home, variables={**home.variables, "SORT_ASSETS_NOTIFY": "nonsense://hunter2@nowhere"})

    done = home.invoke("doctor", "--json")

    found = {one["subject"]: one for one in json.loads(done.stdout)}
    assert done.status == 1
    assert "line 1" in found["sort_assets.yaml"]["detail"]
    assert found["notifications"]["level"] == "error"
    assert "hunter2" not in done.output
