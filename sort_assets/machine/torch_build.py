"""How the installed torch was built, read without importing it, which takes seconds."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path


def torch_cuda_version() -> str | None:
    """The CUDA version that the installed torch was built with; None for a build without. Torch is not imported."""
    text = torch_version_text()
    return (
        None if text is None else next((value for name, value in _constants(ast.parse(text)) if name == "cuda"), None)
    )


def torch_version_text() -> str | None:
    """The module in which the installed torch says its version and how it was built; None without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")


def _constants(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Names that a module's statements set to a text or None."""
    for statement in tree.body:
        target = (
            statement.targets[0]
            if isinstance(statement, ast.Assign)
            else statement.target
            if isinstance(statement, ast.AnnAssign)
            else None
        )
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str | None):
            yield target.id, value.value
