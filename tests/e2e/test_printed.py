"""The texts that are printed from the tables of options and commands."""
from __future__ import annotations

import re
import subprocess

import pytest

from harness.run import EQUAL, TROUBLE, USAGE, clean_environment, longhaul, program
from harness.servers import Server


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    option = "-l key-pattern" if shell == "fish" else "--key-pattern"
    assert option in longhaul("completion", shell).expect(EQUAL).stdout


def test_manual_has_every_option() -> None:
    manual = longhaul("manual").expect(EQUAL).stdout
    options = set(re.findall(r"--([a-z-]+)", longhaul("replicate", "--help", "all").expect(EQUAL).stdout))
    assert len(options) > 50
    for option in options:
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
    for command in ("replicate", "compare", "status", "resume", "forget", "doctor", "generate", "ping", "demo"):
        said = " ".join(longhaul(command, "--help").stdout.split())
        assert "64 the command line, a LONGHAUL_ variable or the configuration file is wrong; nothing was done" in said


@pytest.mark.parametrize("words", [["--help"], ["help"], ["replicate", "--help"], ["version"], ["manual"], ["completion", "zsh"]],
                         ids=" ".join)
def test_a_full_device_is_trouble(words: list[str]) -> None:
    assert_trouble_on_a_full_device(*words)


@pytest.mark.parametrize("words", [["replicate"], ["compare"], ["compare", "--quick"], ["doctor"]], ids=" ".join)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_device_is_trouble_for_two_sides(source: Server, target: Server, words: list[str], form: str) -> None:
    assert_trouble_on_a_full_device(*words, "--output", form, source.endpoint, target.endpoint)


@pytest.mark.parametrize("words", [["ping", "--count", "3"], ["generate", "--keys", "3"]], ids=" ".join)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_device_is_trouble_for_one_side(source: Server, words: list[str], form: str) -> None:
    assert_trouble_on_a_full_device(*words, "--output", form, source.endpoint)


def assert_trouble_on_a_full_device(*words: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([program(), *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                              env=clean_environment())
    assert done.returncode == TROUBLE and "standard output" in done.stderr, (words, done)
