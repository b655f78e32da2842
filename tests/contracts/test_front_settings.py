"""The local stack, the image and the chart keep the front open by the same variables."""

import re
import tomllib
from pathlib import Path

import pytest

from operations.front.settings import FRONT, IMAGE_PROGRAM, PROGRAM
from operations.local_stack.ports import free_block
from operations.local_stack.ray_node import serve_defaults, serve_environment

ROOT = Path(__file__).parents[2]
WANTED = FRONT | {"RAY_SERVE_HAPROXY_BINARY_PATH": IMAGE_PROGRAM}


def image() -> dict[str, str]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^(?:ENV|   ) (\w+)=(\S*)", text))


def chart() -> dict[str, str]:
    text = (ROOT / "kuberay/chart/templates/_ray.tpl").read_text(encoding="utf-8")
    return dict(re.findall(r'(?m)^- \{name: (\w+), value: "?([^"{}]*)"?\}$', text))


@pytest.mark.parametrize("found", [image(), chart()], ids=["image", "chart"])
def test_image_and_chart_set_them(found: dict[str, str]):
    assert {name: found.get(name) for name in WANTED} == WANTED


def test_the_local_stack_sets_them(tmp_path):
    found = serve_defaults(2) | serve_environment(free_block(), tmp_path)
    program = found.pop("RAY_SERVE_HAPROXY_BINARY_PATH")
    assert Path(program).name == PROGRAM
    assert {name: found.get(name) for name in FRONT} == FRONT


def test_the_image_has_the_program():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts[PROGRAM].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))
