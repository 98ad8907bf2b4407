"""What the environment says of a process's place among others: whole, in part, or nonsense."""

import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.place import given_place, tell_leftovers
from mooc_maml.runtime.processes import ALONE, is_distributed, join_process_group

WHOLE = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def given(monkeypatch):
    """Sets these variables, and none of the others."""

    def set_all(**variables: str) -> None:
        for name in (*WHOLE, "MOOC_MAML_RENDEZVOUS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_a_whole_place_is_taken(given):
    given(**WHOLE)
    assert given_place() == (5, 8, 1, 4)
    assert is_distributed()
    given(RANK="1", LOCAL_RANK="1", WORLD_SIZE="2", MOOC_MAML_RENDEZVOUS="/tmp/a b")
    assert given_place() == (1, 2, 1, 2), "of `launch`: a file, and no address"


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_part_of_a_place_is_taken_for_left_over(given, capsys, missing, value):
    given(**{name: text for name, text in WHOLE.items() if name != missing})
    if value is not None:
        given(**{**WHOLE, missing: value})
    assert not is_distributed()
    with join_process_group() as process_group:
        assert process_group is ALONE
    (line,) = capsys.readouterr().err.splitlines()
    assert f"set without {missing}: taken for left over" in line


def test_nothing_is_said_of_what_does_not_matter(given, capsys):
    for variables in ({}, {"MASTER_ADDR": "10.0.0.1"}, {"RANK": "", "WORLD_SIZE": ""}, WHOLE):
        given(**variables)
        tell_leftovers()
    assert capsys.readouterr().err == ""


def test_one_process_meets_nobody(given):
    given(**WHOLE | {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"})
    with join_process_group() as process_group:
        assert (process_group.rank, process_group.size, process_group.local_size) == (0, 1, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"RANK": "one"},
        {"RANK": "-1"},
        {"RANK": "8"},
        {"WORLD_SIZE": "0"},
        {"LOCAL_RANK": "4"},
        {"LOCAL_WORLD_SIZE": "9"},
        {"MASTER_PORT": "tcp"},
    ],
)
def test_nonsense_is_one_sentence(given, changed):
    given(**WHOLE | changed)
    ((name, value),) = changed.items()
    with pytest.raises(UserError, match=rf"found .*{name}='?{value}\b.*torchrun, or unset them"):
        given_place()
