"""What prints itself from the tables of options and commands."""
from __future__ import annotations

import re

import pytest

from harness.run import EQUAL, USAGE, longhaul


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "--key-pattern" in longhaul("completion", shell).expect(EQUAL).stdout or shell == "fish"


def test_manual_has_every_option() -> None:
    manual = longhaul("manual").expect(EQUAL).stdout
    for option in re.findall(r"--([a-z-]+)", longhaul("replicate", "--help", "all").stdout):
        assert option in manual.replace("\\-", "-"), option


def test_no_command() -> None:
    assert longhaul().status == USAGE
    assert "frobnicate" in longhaul("frobnicate").expect(USAGE).error_line


def test_help_shows_what_matters_and_all_of_it_on_demand() -> None:
    """A newcomer reads some thirty options; --help all has every one."""
    def shown(*args: str) -> set[str]:
        return set(re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", longhaul(*args).expect(EQUAL).stdout, re.M))

    short, everything = shown("replicate", "--help"), shown("replicate", "--help", "all")
    assert 25 <= len(short) <= 35 and short < everything
    assert everything == shown("replicate", "--help=all") == shown("help", "replicate", "all")
    assert {"source-tls", "mode", "key-pattern", "state-dir", "extra", "dry-run"} <= short
    assert {"source-key-pass", "beside", "pipeline"} <= everything - short
    assert "longhaul replicate --help all" in " ".join(longhaul("replicate", "--help").stdout.split())
    assert shown("ping", "--help") == shown("ping", "--help", "all")
    assert shown("--help", "all") >= everything
    assert "some" in longhaul("replicate", "--help=some").expect(USAGE).error_line
    assert "64  the command line is wrong" in longhaul("replicate", "--help").stdout
