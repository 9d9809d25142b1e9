"""The GraphQL interface of a webserver: what the UI speaks."""

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

_LOCATION = "query { workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_TERMINATE = "mutation Terminate($run: String!) { terminateRun(runId: $run) { __typename } }"
_STATUS = "query Status($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class WebServer:
    """A running dagster-webserver.

    Parameters
    ----------
    port : int
        On 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> Any:
        """Send a query; returns its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(self, job: str, partition: str, run_config: Mapping[str, Any]) -> Any:
        """Launch a job for a partition, as the launchpad does; returns what the UI gets."""
        location = {"repositoryLocationName": "sort_assets", "repositoryName": "__repository__"}
        parameters = {
            "selector": {**location, "pipelineName": job},
            "runConfigData": run_config,
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        return self.ask(_LAUNCH, parameters=parameters)["launchPipelineExecution"]

    def wait_for(self, run_id: str, timeout_s: float = 300.0) -> str:
        """Wait until a run has ended; returns its status."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = str(self.ask(_STATUS, run=run_id)["runOrError"]["status"])
            if status in _ENDED:
                return status
            assert time.monotonic() < deadline, f"the run is still {status}"
            time.sleep(0.5)

    def terminate(self, run_id: str) -> None:
        """Terminate a run, as the UI's button does."""
        assert self.ask(_TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def wait_for_code(self, timeout_s: float = 60.0) -> None:
        """Wait until the code location is loaded."""
        deadline = time.monotonic() + timeout_s
        while True:
            entries = self.ask(_LOCATION)["workspaceOrError"]["locationEntries"]
            if [(entry["name"], entry["loadStatus"]) for entry in entries] == [("sort_assets", "LOADED")]:
                return
            assert time.monotonic() < deadline, entries
            time.sleep(0.5)
