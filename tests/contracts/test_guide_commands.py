"""Every command of every guide: a test runs its block, or the guide says why none does.

A comment before a block says which: ``<!-- run by: TEST -->`` as it stands, ``<!-- as in: TEST
-->`` with the test's own addresses, or ``<!-- not run: REASON -->``. Whether run or not, each
command must be one that this repository has: the parser of the verb takes its options, the target
is in the Makefile, the route and the body are the OpenAPI document's, module and files exist.
"""

import importlib.util
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cli.__main__ import VERBS, _parser

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (run by|as in|not run): (.*?) -->\n)?```(sh|bash|python)\n(.*?)^```", re.M | re.S
)
# What others make; their own documents say how they are called.
FOREIGN = {
    *(".", "cd", "cp", "docker", "export", "gcloud", "grafana", "helm", "kubectl", "pip"),
    *("prometheus", "ray", "sam", "serve", "terraform"),
}
OPENAPI = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))


def blocks() -> Iterator[Any]:
    for guide in GUIDES:
        for found in BLOCK.finditer(guide.read_text(encoding="utf-8")):
            name = f"{guide.relative_to(ROOT)}: {found[4].splitlines()[0][:40]}"
            # Python code has no commands.
            block = "" if found[3] == "python" else found[4]
            yield pytest.param(found[1], found[2], block, id=name)


@pytest.mark.parametrize(("kind", "said", "block"), list(blocks()))
def test_a_block_is_run_or_says_why_not_and_has_no_wrong_command(
    kind: str | None, said: str | None, block: str
) -> None:
    assert kind is not None, "no comment says which test runs it, or why none does"
    assert said
    if kind != "not run":
        assert (ROOT / said).is_file(), f"{said} does not exist"
    for command in commands(block):
        check(command)


def commands(block: str) -> Iterator[list[str]]:
    """The words of each command; environment assignments and comments are left out."""
    joined = block.replace("\\\n", " ")
    for line in joined.splitlines():
        for part in re.split(r" && ", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if ">" in words:
                del words[words.index(">") :]
            if words:
                yield words


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
    operation = _operation(path, method.lower())
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": OPENAPI["components"]})


def _operation(path: str, method: str) -> Any:
    for template, methods in OPENAPI["paths"].items():
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
