"""The one code server of `sort-assets up`, and the workspace that names it."""

from pathlib import Path

import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from sort_assets.platform.execution.code_server import write_workspace
from sort_assets.platform.execution.home import WORKSPACE, settings_file

ADDRESS = Path("/run/user/1/code")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "written.yaml"


def test_our_workspace_names_the_code_server_under_the_same_name(written: Path) -> None:
    (managed,) = location_origins_from_yaml_paths([str(settings_file(WORKSPACE))])

    name = write_workspace(settings_file(WORKSPACE), ADDRESS, written)

    (served,) = location_origins_from_yaml_paths([str(written)])
    assert isinstance(served, GrpcServerCodeLocationOrigin)
    assert served.socket == str(ADDRESS)
    assert name == served.location_name == managed.location_name


def test_other_code_of_a_person_stays_as_it_is(tmp_path: Path, written: Path) -> None:
    theirs = tmp_path / "workspace.yaml"
    theirs.write_text("load_from:\n- python_file: analysis.py\n- python_module: sort_assets.definitions\n")

    name = write_workspace(theirs, ADDRESS, written)

    origins = location_origins_from_yaml_paths([str(written)])
    assert [type(origin) for origin in origins] == [
        ManagedGrpcPythonEnvCodeLocationOrigin,
        GrpcServerCodeLocationOrigin,
    ]
    assert origins[0] == location_origins_from_yaml_paths([str(theirs)])[0]
    assert name == "sort_assets.definitions"


@pytest.mark.parametrize(
    "text",
    [
        "load_from: [{python_module: analysis}]",
        "load_from: [{python_module: {module_name: sort_assets.definitions, executable_path: /other/python}}]",
        "load_from: [{grpc_server: {port: 4000}}]",
        "load_from: [sort_assets.definitions]",
        "load_from: {",
        "",
    ],
)
def test_a_workspace_that_leaves_us_no_choice_is_left_alone(tmp_path: Path, written: Path, text: str) -> None:
    theirs = tmp_path / "workspace.yaml"
    theirs.write_text(text)

    assert write_workspace(theirs, ADDRESS, written) is None
    assert not written.exists()
