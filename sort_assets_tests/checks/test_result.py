import itertools
import json

import pytest

from sort_assets.checks.result import failed, ok, raise_first_error, warning
from sort_assets.errors import (
    DiskFullError,
    IncompatibleVersionsError,
    NonFiniteSamplesError,
    SilentRecordingError,
    SortAssetsError,
)

IN_TURN = (IncompatibleVersionsError, DiskFullError, NonFiniteSamplesError, SilentRecordingError)


def test_what_is_in_order_or_only_warned_of_raises_nothing() -> None:
    raise_first_error([ok("disk", "large"), warning("memory", "small", "Buy some.")])


@pytest.mark.parametrize(("sooner", "later"), list(itertools.combinations(IN_TURN, 2)))
def test_environment_comes_before_resources_before_the_recording(
    sooner: type[SortAssetsError], later: type[SortAssetsError]
) -> None:
    results = [failed(kind.__name__, kind("It is broken.", remedy="Mend it.")) for kind in (later, sooner)]

    with pytest.raises(sooner, match="It is broken"):
        raise_first_error(results)


def test_of_equals_the_first_is_raised() -> None:
    first, second = (NonFiniteSamplesError(text, remedy="Mend it.") for text in ("first", "second"))

    with pytest.raises(NonFiniteSamplesError, match="first"):
        raise_first_error([failed("samples", first), failed("samples", second)])


def test_a_result_becomes_json() -> None:
    result = failed("disk", DiskFullError("It is full.", remedy="Empty it.", free_bytes=0))

    assert json.loads(json.dumps(result.to_dict())) == {
        "level": "error",
        "subject": "disk",
        "detail": "It is full.",
        "remedy": "Empty it.",
        "failure_class": "DiskFullError",
    }
