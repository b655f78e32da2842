"""Every code block of every page: a test runs it, or the page says why none does.

A comment before a block says which: ``<!-- run by: TEST -->`` as it stands, ``<!-- as in: TEST
-->`` with the test's own addresses, or ``<!-- not run: REASON -->``. Whether run or not, each
command must be one that this repository has: the parser of the verb takes its options, the target
is in the Makefile, the route and the body are the OpenAPI document's, module and files exist,
settings in the environment are settings. Python is compiled, its imports and names are found.
Pictures are ``text`` and have no command. Notebooks are run whole by tests/notebooks.
"""

import ast
import builtins
import importlib
import importlib.util
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI

from cli.__main__ import VERBS, _parser
from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.chaos import ChaosConfig
from deployments.ingress.chaos import chaos_routes

ROOT = Path(__file__).parents[2]
PAGES = [
    *(page for page in sorted(ROOT.glob("*.md")) if page.name != "CHANGELOG.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "sdk").glob("*/README.md")),
    *sorted((ROOT / "models").rglob("*.md")),
]
FENCE = re.compile(
    r"^(?:<!-- (run by|as in|not run): (.*?) -->\n)?(?P<fence>`{3,}|~{3,})(.*?)\n(.*?)^(?P=fence)$",
    re.M | re.S,
)
LANGUAGES = {"sh", "bash", "python", "ts", "text"}
# What others make; their own documents say how they are called.
FOREIGN = {
    *(".", "cd", "cp", "docker", "export", "gcloud", "grafana", "helm", "kubectl", "mypy", "pip"),
    *("prometheus", "pytest", "ray", "ruff", "sam", "serve", "terraform"),
}
OPENAPI = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
COMMAND = re.compile(r"^\s*(\$ )?(sentigraph|make|curl|pip|python|docker|kubectl|helm) ", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    kind: str | None
    said: str | None
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page, m[1], m[2], m[4], m[5]) for m in FENCE.finditer(text)]


ALL = [block for page in PAGES for block in blocks(page)]
WITH_PYTHON = sorted({block.page for block in ALL if block.language == "python"})


def parametrized(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{block.page.relative_to(ROOT)}: {block.code.splitlines()[0][:40]}")
        for block in ALL
        if block.language in languages
    ]


def test_no_block_is_overlooked() -> None:
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines()
        fences = sum(line.lstrip().startswith(("```", "~~~")) for line in lines)
        assert fences == 2 * len(blocks(page)), f"{page}: a fence is indented or left open"
    other = {(str(block.page), block.language) for block in ALL if block.language not in LANGUAGES}
    assert not other, "a block of no known language; pictures are `text`"


@pytest.mark.parametrize("block", parametrized("text"))
def test_a_picture_has_no_command(block: Block) -> None:
    assert COMMAND.search(block.code) is None, "a block of commands is `sh`"


@pytest.mark.parametrize("block", parametrized("sh", "bash", "python", "ts"))
def test_a_block_is_run_or_says_why_not_and_has_no_wrong_command(block: Block) -> None:
    assert block.kind is not None, "no comment says which test runs it, or why none does"
    assert block.said
    if block.kind != "not run":
        test = ROOT / block.said
        assert test.is_file(), f"{block.said} does not exist"
        if block.kind == "run by":
            reads = block.page.name in test.read_text(encoding="utf-8")
            assert reads, f"{block.said} does not read {block.page.name}"
    if block.language in ("sh", "bash"):
        for command in commands(block.code):
            check(command)
        load_config({}, environ=dict(settings(block.code)))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=str)
def test_the_python_of_a_page_has_its_imports_and_names(page: Path) -> None:
    check_python("\n".join(block.code for block in blocks(page) if block.language == "python"))


@pytest.mark.parametrize("block", parametrized("ts"))
def test_the_typescript_of_a_page_calls_what_there_is(block: Block) -> None:
    source = (ROOT / "sdk" / "typescript" / "src" / "index.ts").read_text(encoding="utf-8")
    for names in re.findall(r"import {([^}]*)} from \"sentigraph-client\"", block.code):
        for name in names.replace("type ", "").split(","):
            assert re.search(rf"export .*\b{name.strip()}\b", source), name
    for name in re.findall(r"\bclient\.(\w+)\(", block.code):
        assert re.search(rf"^  (async )?\*?{name}[(<]", source, re.M), name
    for method, path in re.findall(r"\.api\.(\w+)\(\"([^\"]+)\"", block.code):
        assert method.lower() in OPENAPI["paths"][path]


def check_python(code: str) -> None:
    """Fails at an import or a name that is not there."""
    tree = ast.parse(code)
    known = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                known.add((alias.asname or alias.name).partition(".")[0])
                if isinstance(node, ast.Import):
                    importlib.import_module(alias.name)
                    continue
                inside = hasattr(importlib.import_module(str(node.module)), alias.name)
                assert inside, f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert used <= known, f"no such names: {used - known}"


def commands(block: str) -> Iterator[list[str]]:
    """The words of each command; environment assignments and comments are left out."""
    joined = block.replace("\\\n", " ")
    for line in joined.splitlines():
        for part in re.split(r" && ", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            for mark in (">", "<"):
                if mark in words:
                    del words[words.index(mark) :]
            if words:
                yield words


def settings(block: str) -> Iterator[tuple[str, str]]:
    """The settings that are given in the environment, before a command or by ``export``."""
    for line in block.replace("\\\n", " ").splitlines():
        for word in shlex.split(line, comments=True):
            name, equals, value = word.partition("=")
            if equals and re.fullmatch(r"MLOPS_[A-Z0-9_]+", name):
                yield name, value


def check(words: list[str]) -> None:
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "sentigraph":
        check_verb(rest)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{re.escape(t)}:", makefile, re.M) for t in rest if "=" not in t)
    elif program == "curl":
        check_call(rest)
    elif program == "python":
        assert rest[0] == "-m"
        assert importlib.util.find_spec(rest[1]) is not None, rest[1]
    elif "/" in program:
        assert (ROOT / program).is_file(), program
    else:
        assert program in FOREIGN, f"{program}: no known program"
    for option, value in itertools.pairwise(words):
        inside = value.startswith(("kuberay/", "compose/", "serverless/", "terraform/"))
        if inside and option in ("--values", "-f", "--template", "cp"):
            made = value == "terraform/aws/cloud.json"
            assert made or (ROOT / value).exists(), f"{value} does not exist"


def check_verb(words: list[str]) -> None:
    verb = next(word for word in words if not word.startswith("-"))
    assert verb in VERBS, verb
    try:
        _parser(verb).parse_args(words)
    except SystemExit:
        pytest.fail(f"sentigraph {shlex.join(words)} is refused")


def check_call(words: list[str]) -> None:
    method, body, address = "GET", None, ""
    position = 0
    while position < len(words):
        word = words[position]
        if word in ("-X", "-H", "-d", "-F", "-o"):
            value = words[position + 1]
            if word == "-X":
                method = value
            elif word in ("-d", "-F"):
                method = "POST" if method == "GET" else method
                body = json.loads(value) if word == "-d" else None
            position += 1
        elif not word.startswith("-"):
            address = word
        position += 1
    path = re.sub(r"^(https?://)?[^/]+", "", address).partition("?")[0]
    document = _chaos_document() if path.startswith("/api/v1/chaos/") else OPENAPI
    operation = _operation(document, path, method.lower())
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": document["components"]})


def _chaos_document() -> Any:
    """Of the routes that are in no document of a server."""
    app = FastAPI()
    routes = chaos_routes("/api/v1", ChaosConfig(), None)  # type: ignore[arg-type]
    routes.include_in_schema = True
    for route in routes.routes:
        route.include_in_schema = True  # type: ignore[attr-defined]
    app.include_router(routes)
    return app.openapi()


def _operation(document: Any, path: str, method: str) -> Any:
    for template, methods in document["paths"].items():
        pattern = "/".join(
            "[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/")
        )
        if re.fullmatch(pattern, path) and method in methods:
            return methods[method]
    pytest.fail(f"there is no {method.upper()} {path}")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("sentigraph models promote sentiment 2 --two staging", "is refused"),
        ('curl -s localhost:8000/api/v1/predictions -d \'{"text": "a"}\'', "there is no POST"),
        ("brew install ray", "no known program"),
    ],
)
def test_a_planted_mistake_is_found(command: str, problem: str) -> None:
    with pytest.raises((pytest.fail.Exception, AssertionError), match=problem):
        check(next(commands(command)))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("from sentigraph_client import Klient\nKlient()", "has no Klient"),
        ("print(client)", "no such names: {'client'}"),
        ("import sentigraph_clients", "No module named"),
    ],
)
def test_a_planted_mistake_in_python_is_found(code: str, problem: str) -> None:
    with pytest.raises((AssertionError, ImportError), match=problem):
        check_python(code)


def test_a_setting_that_is_none_is_found() -> None:
    found = dict(settings("export MLOPS_STREAM__ENABLED=true MLOPS_STREAMS__X=1\nsentigraph serve"))
    assert found == {"MLOPS_STREAM__ENABLED": "true", "MLOPS_STREAMS__X": "1"}
    with pytest.raises(ConfigError, match="MLOPS_STREAMS__X is not a setting"):
        load_config({}, environ=found)
