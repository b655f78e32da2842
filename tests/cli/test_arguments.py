"""Where options may stand between the arguments of a verb, and whose usage a mistake shows."""

import pytest

from cli.__main__ import _parser


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "models policy set m dataset=d --rule accuracy,threshold=0.9 approvals=1",
            {"name": "m", "fields": ["dataset=d", "approvals=1"]},
        ),
        ("models delete m --reason wrong 3", {"name": "m", "version": "3", "reason": "wrong"}),
        ("models shadow m --weight 0.2 2", {"name": "m", "version": "2", "weight": 0.2}),
        ("dlq redrive 0:1 --again 0:2", {"letters": ["0:1", "0:2"], "again": True}),
        ("models show m --json", {"name": "m", "json": True}),
        ("release m --reason better 2", {"name": "m", "version": "2"}),
    ],
)
def test_an_option_may_stand_between_arguments(line: str, expected: dict[str, object]) -> None:
    words = line.split()
    parsed = vars(_parser(words[0]).parse_args(words))
    assert {name: parsed[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("models show m extra", "sentigraph models show"),
        ("models policy set m --rul x --nonsense", "sentigraph models policy set"),
        ("status --nonsense", "sentigraph status"),
    ],
)
def test_a_mistake_shows_the_usage_of_its_verb(
    line: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()
    with pytest.raises(SystemExit) as refused:
        _parser(words[0]).parse_args(words)
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: {usage} ")
    assert words[-1] in said.splitlines()[-1]
