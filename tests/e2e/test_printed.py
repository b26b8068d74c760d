"""What prints itself from the tables of options and commands."""
from __future__ import annotations

import re

import pytest

from harness.run import EQUAL, TROUBLE, longhaul


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "--key-pattern" in longhaul("completion", shell).expect(EQUAL).stdout or shell == "fish"


def test_manual_has_every_option() -> None:
    manual = longhaul("manual").expect(EQUAL).stdout
    for option in re.findall(r"--([a-z-]+)", longhaul("replicate", "--help").stdout):
        assert option in manual.replace("\\-", "-"), option


def test_no_command() -> None:
    assert longhaul().status == TROUBLE
    assert "frobnicate" in longhaul("frobnicate").expect(TROUBLE).error_line
