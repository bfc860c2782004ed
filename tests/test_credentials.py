"""A canary token on every way in: it comes out nowhere."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import subprocess
import sys
import time
import traceback
from dataclasses import fields
from pathlib import Path

import finished_run
import hub_server
import pytest
from hypothesis import given, settings, strategies as st

from fgkit import credentials
from fgkit.cli.main import main
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.errors import CheckFailed, ConfigError, FgkitError, ModelError
from fgkit.hub.upload import publish
from fgkit.models.base import find_base
from fgkit.ui import colab
from fgkit.workflow import run as pipeline
from tests.ui.test_colab import google  # noqa: F401  (a fixture)

CANARY = "hf_" + "CanaryThatNobodyMayEverSee" + "0123456789"
ADDRESS = "https://ada:sesameOpen@mirror.example/rows.jsonl"
letters = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=30, max_size=60
)


# ---- found and hidden ----


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"token={CANARY}&x",
        f"Bearer {CANARY}",
        f"hf_oauth_{'e' * 40}.x-y.z_w",
        "api_org_" + "b" * 34,
    ],
)
def test_tokens_are_found_and_hidden(text) -> None:
    assert credentials.secret_in(text) == "an access token"
    assert credentials.secret_in(
        credentials.redacted(text)
    ) is None and "***" in credentials.redacted(text)


# None of these is anybody's: letters and digits in the shapes that the services issue.
MIXED = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9"
TOKENS = {
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS, temporary": "ASIA" + "IOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + MIXED + "012345678",
    "GitHub app": "gho_" + MIXED + "012345678",
    "GitHub, fine-grained": "github_pat_" + "11ABCDEFG0123456789012_" + 2 * MIXED,
    "GitLab": "glpat-" + MIXED[:20],
    "npm": "npm_" + MIXED + "012345678",
    "PyPI": "pypi-Ag" + "EIcHlwaS5vcmc" + MIXED,
    "OpenAI": "sk-" + MIXED + MIXED,
    "OpenAI, project": "sk-proj-" + MIXED + "-_" + MIXED,
    "Anthropic": "sk-ant-" + "api03-" + MIXED + "_" + MIXED + "-AA",
    "Google": "AIza" + "SyA-_" + MIXED + "abc",
    "Slack": "xoxb-" + "123456789012-1234567890123-" + MIXED,
    "Slack, user": "xoxp-" + "123456789012-" + MIXED,
    "Slack, app": "xoxa-2-" + "123456789012-" + MIXED,
    "Stripe": "sk_live_" + MIXED,
}
PEM = "-----BEGIN {0}PRIVATE KEY-----{1}MIIEpAIBAAKCAQEA7+/x{1}b3BlbnNzaC1r={1}-----END {0}PRIVATE KEY-----"


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "around", ["{}", "key={}&x", '{{"a": "{}"}}', "in {}, said Ada", "x/{}.py"]
)
def test_tokens_of_other_services_are_found_and_redacted(token, around) -> None:
    text = around.format(token)
    assert credentials.secret_in(text) == "an access token"
    shown = credentials.redacted(text)
    assert credentials.secret_in(shown) is None and "***" in shown and token[-6:] not in shown


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n"])
@pytest.mark.parametrize("cut_off", [False, True])
def test_private_keys_are_found_and_redacted(kind, newline, cut_off) -> None:
    text = PEM.format(kind, newline)
    text = text[: -len("-----END")] if cut_off else text
    assert credentials.secret_in(f"a {text} b") == "a private key"
    shown = credentials.redacted(f"a {text}" + (" b" if not cut_off else ""))
    assert credentials.secret_in(shown) is None and "MII" not in shown and "b3Bl" not in shown
    assert shown.startswith("a ***")


ODD = [
    "https://ada@example.com:pw@h/x",
    "https://ada:p@ss@h/x",
    "https://ada:p/ss@h/x",
    "https://ada:p?s#s@h/x",
    "https://ada:p:s@h/x",
    "https://ada:p%40ss%2F@h/x",
    "https://ada:pässwörd-漢字@h/x",
    "https://ada:p'\"$!*()[]{}|^~`s@h/x",
    "https://ada:1234@h/x",
    "https://x-access-token:abc@github.com/a/b.git",
    "postgresql+psycopg2://ada:sesame@db:5432/rows",
    "https://0123abc:@h/",
]


@pytest.mark.parametrize(
    "text", [ADDRESS, "http://:pw@h/", "HTTPS://a:b@c", "git+https://x:y@z/w.git", *ODD]
)
def test_addresses_with_passwords_are_found_and_hidden(text) -> None:
    assert credentials.secret_in(text) == "an address with a password"
    shown = credentials.redacted(f"GET {text} failed")
    assert credentials.secret_in(shown) is None and shown.startswith(
        f"GET {text.partition('//')[0]}"
    )
    assert "//***@" in shown and shown.endswith(f"@{text.rpartition('@')[2]} failed")


@pytest.mark.parametrize(
    "text",
    [
        "https://TOKEN@host/x",
        "https://0123456789abcdef0123456789abcdef01234567@github.com/a/b.git",
        "git+https://a1b2c3d4e5f6g7h8@h/x",
        "https://abcdefghijklmnopqrstuvwxyzabcdefghijklmnop@h/x",
        "https://9f8e7d6c@h",
    ],
)
def test_addresses_with_a_token_alone_are_found_and_redacted(text) -> None:
    assert credentials.secret_in(text) == "an address with a token"
    shown = credentials.redacted(text)
    assert credentials.secret_in(shown) is None and "://***@" in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run",
        "hf_home",
        "my_hf_run_2026",
        "google/functiongemma-270m-it",
        "offline",
        "https://huggingface.co/a/b",
        "git+ssh://git@github.com/a/b",
        "C:\\rows.jsonl",
        "ada@example.com",
        "hf_datasets/my_rows_of_november_2026.jsonl",
        "at 10:30 mail ada@example.com",
        # Hashes and base64.
        hashlib.sha256(b"x").hexdigest(),
        f"{hashlib.sha256(b'y').hexdigest()}  sk-model.task",
        base64.b64encode(bytes(range(256)) * 40).decode(),
        base64.b64encode(hashlib.sha512(b"z").digest() * 30).decode(),
        # Words that begin as tokens do.
        "sk-learn",
        "sk-learn-contrib and scikit-learn-extra, task-management, disk-encryption",
        "risk-assessment-of-internationalization-2026",
        "sk-ant-colony-optimization-of-routes",
        "sk-proj-for-the-house-of-2026-and-others",
        "the xoxb- and ghp_ and AKIA prefixes, AIza too",
        "AKIAKIAKIAKIAKIAKIAKIAKIA",
        "npm_config_registry_of_this_machine",
        "pypi-mirror-of-the-whole-company-2026",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        # Addresses without a secret.
        "https://ada@bitbucket.org/team/repo.git",
        "https://my-team@dev.azure.com/my-team/x/_git/y",
        "abfss://rows-2026@store.dfs.core.windows.net/x",
        "ssh://git@github.com:22/a/b.git",
        "git+ssh://git@github.com:a/b.git@v1.2",
        "git+https://github.com/a/b.git@v1.2#egg=b",
        "git@github.com:a/b.git",
        "https://unpkg.com/@scope/pkg@1.2.3",
        "http://localhost:8080/@x/y@z",
        "http://[::1]:8080/a@b",
        "https://h/?to=ada@example.com",
        "https://h:443?to=ada@example.com",
        "http://h: ask ada@example.com",
    ],
)
def test_what_is_no_secret_is_left_alone(text) -> None:
    assert credentials.secret_in(text) is None and credentials.redacted(text) == text


@settings(max_examples=50)
@given(
    st.text(),
    st.sampled_from([*TOKENS.values(), *ODD, PEM.format("RSA ", "\n"), "https://TOKEN@h"]),
    st.text(),
)
def test_redacting_leaves_no_other_secret(before, secret, after) -> None:
    shown = credentials.redacted(f"{before} {secret} {after}")
    assert credentials.secret_in(shown) is None and secret not in shown


def test_a_text_made_to_be_slow_is_not() -> None:
    start = time.process_time()
    for piece in (
        "http://:a",
        "sk-",
        "sk-a",
        "-----BEGIN PRIVATE KEY-----",
        "a.",
        "x://",
        "ghp_",
        "@:",
    ):
        text = piece * (20_000 // len(piece))
        credentials.secret_in(text)
        credentials.redacted(text)
    assert time.process_time() - start < 10


@settings(max_examples=50)
@given(st.text(), letters, st.text())
def test_hiding_leaves_nothing(before, token, after) -> None:
    shown = credentials.redacted(f"{before} hf_{token} {after}")
    assert credentials.secret_in(shown) is None and f"hf_{token}" not in shown


def test_a_token_of_another_shape_is_known_by_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "corporate-9f8e7d6c")
    assert (
        credentials.secret_in("x corporate-9f8e7d6c")
        and credentials.redacted("a corporate-9f8e7d6c b") == "a *** b"
    )
    monkeypatch.setenv("HF_TOKEN", "run")
    assert credentials.secret_in("run") is None, (
        "what is too short for a token would spoil every text"
    )


def test_an_error_and_its_causes_are_scrubbed() -> None:
    try:
        try:
            try:
                raise OSError(5, f"GET {ADDRESS}")
            except OSError as first:
                raise RuntimeError(f"with {CANARY}", 7) from first
        except RuntimeError:
            raise ValueError(CANARY)
    except ValueError as error:
        shown = "".join(traceback.format_exception(credentials.redact_error(error)))
    assert (
        CANARY not in shown.replace(f'"{CANARY}"', "")
        and "sesameOpen" not in shown
        and "hf_***" in shown
    )


# ---- given by mistake ----


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "-p", "base", CANARY],
        ["run", "--base", CANARY],
        ["run", "--data", ADDRESS],
        [CANARY],
        ["lint", CANARY],
        ["run", f"--base={CANARY}"],
        ["tools", f"x/{CANARY}.py"],
        ["publish", "run", "--repo", CANARY],
        ["chat", "x.task", "my token is", CANARY],
        ["run", "-p", CANARY, "1"],
        ["run", "--no-such-option", CANARY],
    ],
)
def test_a_command_line_with_one_is_refused_without_repeating_it(arguments, capsys) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and CANARY not in err and "sesame" not in err and err.count("\n") == 1
    assert "HF_TOKEN" in err and "revoke it" in err and "argument " in err


@pytest.mark.parametrize(
    "name", ["token", "hf_token", "HF_TOKEN", "api_key", "password", "hub_secret"]
)
def test_a_parameter_for_one_is_refused_with_the_remedy(name, capsys, tmp_path) -> None:
    assert main(["run", "-p", name, "short-and-shapeless", "--output", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "short-and-shapeless" not in err and "a token is never one" in err and "HF_TOKEN" in err
    assert not (tmp_path / "run").exists()


PLACES = [
    (kind, name)
    for kind in (FinetuneConfig, TfliteConfig, TaskConfig)
    for name in (
        "data",
        "eval_data",
        "tools",
        "output",
        "data_format",
        "style",
        "base",
        "name",
        "model",
        "seed",
    )
    if name in kind.__dataclass_fields__
]


OTHERS = [
    (FinetuneConfig, "lr_scheduler_type"),
    (FinetuneConfig, "precision"),
    (FinetuneConfig, "system_message"),
    (TfliteConfig, "quantize"),
    (TaskConfig, "profile"),
]


def test_no_setting_that_takes_text_is_forgotten() -> None:
    texts = {
        (kind, item.name)
        for kind, _ in PLACES
        for item in fields(kind)
        if item.type.startswith("str")
    }
    assert len(texts) > 25 and texts <= {*PLACES, *OTHERS}


@pytest.mark.parametrize(("kind", "name"), [*PLACES, *OTHERS])
@pytest.mark.parametrize("value", [CANARY, ADDRESS, f"x/{CANARY}"])
def test_settings_with_one_are_refused_without_repeating_it(kind, name, value) -> None:
    with pytest.raises(ConfigError) as info:
        kind(**{name: value})
    assert (
        value not in str(info.value)
        and "sesame" not in str(info.value)
        and CANARY not in str(info.value)
    )
    assert f"{name} holds an a" in str(info.value) and "HF_TOKEN" in str(info.value)


def test_a_parameter_file_with_one_runs_nothing(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "_execute", lambda *_: pytest.fail("a notebook ran"))
    file = tmp_path / "p.yaml"
    file.write_text(
        f"output: {tmp_path / 'run'}\nbase: {CANARY}\ntoken: {CANARY}\n", encoding="utf-8"
    )
    assert main(["run", "-f", str(file)]) == 2
    err = capsys.readouterr().err
    assert (
        CANARY not in err
        and "base holds an access token" in err
        and "'token' does not exist" in err
    )
    assert not (tmp_path / "run").exists()


# ---- where it belongs ----


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server.alone(monkeypatch, tmp_path), hub_server.Hub() as server:
        hub_server.point_at(monkeypatch, server.url)
        server.accept(CANARY)
        server.echo = True  # every refusal repeats the Authorization header
        yield server


def everywhere(folder: Path) -> bytes:
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert found, "nothing was looked at"
    return b"".join(found)


@pytest.mark.parametrize("source", ["environment", "colab"])
def test_a_published_run_holds_it_nowhere(
    source, hub, tmp_path, monkeypatch, capfd, request
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    if source == "colab":
        request.getfixturevalue("google").userdata.answer = lambda key: CANARY
        monkeypatch.setenv("HF_TOKEN", "")
        colab._token_from_secrets()
    run = finished_run.make(tmp_path / "run")
    publish(run, "ada/lights")
    assert f"Bearer {CANARY}" in hub.tokens, "it was used"
    out = "".join(capfd.readouterr())
    assert CANARY not in out and CANARY.encode() not in b"".join(
        hub.repos["ada/lights"].files.values()
    )
    assert CANARY.encode() not in everywhere(run)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_hub_that_repeats_it_shows_it_to_nobody(status, hub, monkeypatch, caplog, capfd) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    hub.refuse = lambda path: (status, {})
    with pytest.raises(ModelError) as info:
        find_base("someone/some-model")
    shown = (
        "".join(traceback.format_exception(info.value)) + caplog.text + "".join(capfd.readouterr())
    )
    assert (
        f"Bearer {CANARY}" in hub.tokens and f"answered {status}" in shown or status in (401, 404)
    )
    assert CANARY not in shown and "***" in shown


def test_a_file_that_holds_it_is_not_published(hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    run = finished_run.make(tmp_path / "run", note=f"curl -H 'Authorization: Bearer {CANARY}'")
    with pytest.raises(CheckFailed) as info:
        publish(run, "ada/lights", force=True)
    assert (
        "fgkit.json holds an access token" in str(info.value)
        and CANARY not in str(info.value)
        and hub.requests == []
    )


@pytest.mark.slow
def test_a_process_that_publishes_shows_it_nowhere(tmp_path) -> None:
    """A real process and its children: output, command lines as `ps` shows them, every file."""
    run, seen = finished_run.make(tmp_path / "run"), set()
    with hub_server.Hub() as hub:
        hub.accept(CANARY)
        hub.pause = 0.1
        environment = os.environ | hub.environment(CANARY) | {"HF_HOME": str(tmp_path / "home")}
        for faults in (lambda path: (403, {}) if "/commit/" in path else None, lambda path: None):
            hub.refuse, hub.echo = faults, True
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "fgkit",
                    "publish",
                    str(run),
                    "--repo",
                    "ada/lights",
                    "--debug",
                ],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            while process.poll() is None:
                for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
                    with contextlib.suppress(OSError):  # it ended meanwhile
                        seen.add(cmdline.read_bytes())
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            said = process.stdout.read()
            assert CANARY not in said and ("Traceback" in said and "Bearer ***" in said) == (
                process.returncode == 2
            ), said
        assert process.returncode == 0 and hub.repos["ada/lights"].files
    assert any(b"fgkit" in line for line in seen) and not any(
        CANARY.encode() in line for line in seen
    )
    assert CANARY.encode() not in everywhere(run)


@pytest.mark.slow
def test_an_executed_notebook_holds_it_nowhere(tmp_path, monkeypatch) -> None:
    """A kernel asks a Hub that repeats the token; what papermill wrote down has the error, its causes, and no token."""
    import nbformat

    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("base = ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(
                "from fgkit.models.base import find_base\nfind_base('someone/some-model')"
            ),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, tmp_path / "asks.ipynb")
    monkeypatch.setattr(pipeline, "notebook_path", lambda name: tmp_path / "asks.ipynb")
    with hub_server.Hub() as hub:
        for name, value in (hub.environment(CANARY) | {"HF_HOME": str(tmp_path / "home")}).items():
            monkeypatch.setenv(name, value)
        hub.echo, hub.refuse = True, lambda path: (403, {})
        with pytest.raises(FgkitError, match="answered 403") as info:
            pipeline._execute("finetune", tmp_path, {})
        assert f"Bearer {CANARY}" in hub.tokens
    written = (tmp_path / "finetune.ipynb").read_text(encoding="utf-8")
    assert (
        "answered 403" in written
        and "Bearer ***" in written
        and CANARY not in written + str(info.value)
    )
