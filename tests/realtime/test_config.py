"""The configuration: its sources, its units, and what is said when something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import ValidationError

from policies.policy import compiled
from realtime.config import Settings, load, resolve_secret
from realtime.config.faults import KEYS, VARIABLES
from realtime.errors import ConfigError
from realtime.units import DURATION, SIZE
from tests.policies.policies import CATALOGUE
from tests.realtime.auth.makers import pem, rsa_key

ROOT = Path(__file__).parents[2]
DOCUMENTED = ROOT / "config.toml"
SECRET = "s3cr3t-" * 5
PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration to be, in a working directory without any."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "some.toml"


def refusal(path: Path | None = None, /, **environ: str) -> str:
    """Load what can't be loaded, and return what is said."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    assert not isinstance(caught.value.__context__, ValidationError), "that one repeats the values of secrets"
    return caught.value.detail


# --- the documented file ---------------------------------------------------------------------------------------------


def test_the_documented_file_is_the_defaults() -> None:
    assert load(DOCUMENTED, {}) == Settings()


def test_every_setting_is_documented() -> None:
    table = tomllib.loads(DOCUMENTED.read_text("utf-8"))
    keys = {f"{name}.{key}" for name, value in table.items() if isinstance(value, dict) for key in value}
    assert keys | {name for name, value in table.items() if not isinstance(value, dict)} == set(KEYS)


def test_every_setting_has_its_reason_above_it() -> None:
    """Pairs that stand together (retry_base, retry_max) share one."""
    bare = re.findall(r"(?:\n\n|\]\n)(\w+) =", DOCUMENTED.read_text("utf-8"))
    assert bare == []


def test_the_examples_of_the_policy_are_ones(file: Path) -> None:
    text = DOCUMENTED.read_text("utf-8").partition("\n[policy]\n")[2].partition("\n[transports]\n")[0]
    file.write_text("\n".join(re.findall(r"^#     (.*)$", text, re.MULTILINE)))
    policy = load(file, {}).policy
    assert policy.transports.keys() == {"sse"}
    assert [rule.name for rule in policy.rules] == ["metered phones in the background poll"]
    assert [rollout.name for rollout in policy.rollouts] == ["sse-on-android"]
    assert compiled(policy, CATALOGUE).preference == ("sse", "long-poll", "polling")


# --- sources ---------------------------------------------------------------------------------------------------------


def test_without_file_and_environment_the_defaults_hold(file: Path) -> None:
    assert load(environ={}) == Settings()


def test_config_toml_of_the_working_directory_is_read_unless_another_is_given(file: Path) -> None:
    file.write_text("server.port = 1")
    file.with_name("config.toml").write_text("server.port = 2")
    assert load(environ={}).server.port == 2
    assert load(file, {}).server.port == 1


def test_the_environment_overrides_the_file_and_flags_override_both(file: Path) -> None:
    file.write_text("[server]\nhost = '::'\nport = 1\nworkers = 3")
    environ = {"GAPLESS_SERVER__HOST": "localhost", "GAPLESS_SERVER__PORT": "2"}
    server = load(file, environ, {"server.port": 3}).server
    assert (server.host, server.port, server.workers) == ("localhost", 3, 3)


def test_the_names_that_are_promised_work(file: Path) -> None:
    settings = load(
        environ={
            "GAPLESS_DATA_DIR": "/var/lib/gapless",
            "GAPLESS_ENV": "production",
            "GAPLESS_AUTH__SECRET": SECRET,
            "GAPLESS_AUTH__TICKET_TTL": "90s",
            "GAPLESS_AUTH__ANONYMOUS_SCOPES": '["broadcast", "topic:news.*"]',
            "GAPLESS_REDIS__URL": "redis://localhost:6379/0",
            "GAPLESS_HISTORY__RETENTION": "48h",
            "GAPLESS_HISTORY__SCOPE_CAP": "5",
            "GAPLESS_HISTORY__WINDOW_EVENTS": "6",
            "GAPLESS_HISTORY__MAX_EVENT_BYTES": "1KiB",
            "GAPLESS_SSE__HEARTBEAT": "50ms",
            "GAPLESS_SSE__LIFETIME": "2s",
            "PATH": "/bin",
        }
    )
    assert settings.data_dir == Path("/var/lib/gapless")
    assert settings.auth.secret is not None
    assert settings.auth.secret.get_secret_value() == SECRET
    assert settings.auth.ticket_ttl == 90_000
    assert settings.auth.anonymous_scopes == ("broadcast", "topic:news.*")
    assert settings.redis.url == "redis://localhost:6379/0"
    assert settings.history.retention == 172_800_000
    assert (settings.history.scope_cap, settings.history.window_events) == (5, 6)
    assert settings.history.max_event_bytes == 1024
    assert (settings.sse.heartbeat, settings.sse.lifetime) == (50, 2000)


def test_each_setting_has_a_variable() -> None:
    assert VARIABLES["GAPLESS_HISTORY__SCOPE_CAP"] == "history.scope_cap"
    assert len(VARIABLES) == len(KEYS)


def test_the_policys_tables_are_json_in_a_variable(file: Path) -> None:
    policy = load(
        environ={
            "GAPLESS_POLICY__TRANSPORTS": '{"sse":{"enabled":false}}',
            "GAPLESS_POLICY__RULES": '[{"name":"all","preference":["polling"]}]',
            "GAPLESS_POLICY__ROLLOUTS": '[{"name":"a","arms":{"b":{"weight":100}}}]',
        }
    ).policy
    assert not policy.transports["sse"].enabled
    assert policy.rules[0].preference == ("polling",)
    assert policy.rollouts[0].arms["b"].weight == 100


def test_an_empty_variable_unsets_what_need_not_be_set(file: Path) -> None:
    file.write_text('redis.url = "redis://elsewhere"')
    assert load(file, {"GAPLESS_REDIS__URL": ""}).redis.url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GAPLESS_SERVICE_HOST", "10.0.0.7"),
        ("GAPLESS_SERVICE_PORT_HTTP", "8000"),
        ("GAPLESS_PORT", "tcp://10.0.0.7:8000"),
        ("GAPLESS_PORT_8000_TCP_ADDR", "10.0.0.7"),
        ("GAPLESS_REDIS_PORT", "tcp://10.0.0.8:6379"),
        ("GAPLESS_REDIS_SERVICE_PORT", "6379"),
    ],
)
def test_what_kubernetes_says_of_a_service_named_gapless_is_no_setting(file: Path, name: str, value: str) -> None:
    assert load(environ={name: value}) == Settings()


def test_settings_are_frozen_and_a_dump_reads_in_again() -> None:
    settings = load(DOCUMENTED, {"GAPLESS_SSE__RETRY": "1500ms"})
    with pytest.raises(ValidationError):
        settings.sse.retry = 1  # type: ignore[misc]
    assert Settings.model_validate(settings.model_dump()) == settings


def test_no_secret_is_in_a_representation() -> None:
    settings = Settings.model_validate({"auth": {"secret": SECRET}, "redis": {"url": f"redis://me:{SECRET}@host"}})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("15s", 15_000),
        ("10m", 600_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("1.5s", 1500),
        ("0.1s", 100),
        ("15", 15_000),
        (15, 15_000),
        (0.25, 250),
        (0, 0),
    ],
    ids=repr,
)
def test_durations_are_read_as_milliseconds(text: object, ms: int) -> None:
    assert DURATION.parse(text) == ms


@pytest.mark.parametrize(
    "text", ["", "s", "15 s", "-1s", "1.5ms", "1e3", "15S", "\u0661s", True, None, [], float("nan"), -1], ids=repr
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        DURATION.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65_536), ("64MiB", 67_108_864), ("1GiB", 1_073_741_824), ("0.5KiB", 512), ("7B", 7), ("7", 7), (7, 7)],
    ids=repr,
)
def test_sizes_are_read_as_bytes(text: object, size: int) -> None:
    assert SIZE.parse(text) == size


@pytest.mark.parametrize("ms", [0, 1, 250, 1500, 15_000, 600_000, 86_400_000, 90_061_001])
def test_a_duration_is_written_as_it_is_read(ms: int) -> None:
    assert DURATION.parse(DURATION.show(ms)) == ms


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("history.retenton = '1h'", "history.retenton: there is no such setting; did you mean history.retention?"),
        ("retention = '1h'", "retention: there is no such setting; did you mean history.retention?"),
        ("server.heartbeat = '1s'", "server.heartbeat: there is no such setting; did you mean sse.heartbeat?"),
        ("[histroy]\nretention = '1h'", "[histroy]: there is no such section; did you mean history?"),
        ("[auth]\nalgorithm = 'HS265'", 'auth.algorithm = "HS265": expected one of "HS256", "RS256", "ES256", "EdDSA"'),
        ("[auth]\nalgorithm = 'rs256'", 'did you mean "RS256"?'),
        ("env = 'prod'", 'env = "prod": expected one of "development", "production"; did you mean "production"?'),
        ("history.retention = '24 hours'", 'history.retention = "24 hours": expected a duration such as'),
        ("history.retention = '24 hours'", 'did you mean "24h"?'),
        ("history.retention = '999ms'", 'expected at least 1s; did you mean "1s"?'),
        ("history.max_event_bytes = '64kb'", 'did you mean "64KiB"?'),
        ("history.max_event_bytes = '5MiB'", "expected at most 4MiB"),
        ("sse.heartbeat = 0.049", "sse.heartbeat = 0.049: expected at least 50ms"),
        ("history.scope_cap = 0", "history.scope_cap = 0: expected at least 1"),
        ("history.window_events = 0", "expected at least 1"),
        ("auth.ticket_ttl = '0.05s'", "expected at least 100ms"),
        ("server.workers = true", "server.workers = true: expected a whole number"),
        ("server.workers = 1.5", "server.workers = 1.5: expected a whole number"),
        ("server.port = 70000", "server.port = 70000: expected at most 65535"),
        ("server = 3", "server = 3: expected a section"),
        ("server.host = ''", "server.host"),
        ("data_dir = ''", "data_dir"),
        ("policy.preference = []", "policy.preference = []: expected at least one entry"),
        ("policy.preference = ['sse', 'sse']", 'each entry once, but "sse" is there twice; did you mean ["sse"]?'),
        ("policy.preference = ['SSE']", "policy.preference[0]"),
        ("policy.retry_base = '1m'", "policy.retry_max is not set"),
        ("policy.preferance = []", "policy.preferance: there is no such setting; did you mean policy.preference?"),
        ("policy.rules = 3", "policy.rules = 3: expected a list of tables"),
        ("policy.rules = [{}]", "policy.rules[0].name is not set: expected a value"),
        ("policy.rules = [{name = 'a'}]", "policy.rules[0].preference is not set: expected a preference here"),
        (
            "[[policy.rules]]\nname = 'a'\npreferance = ['sse']",
            "policy.rules[0].preferance: there is no such setting; did you mean policy.rules[0].preference?",
        ),
        (
            "[[policy.rules]]\nname = 'a'\npreference = ['sse']\nwhen = { app_version = '5.2' }",
            'policy.rules[0].when.app_version = "5.2": expected a range of versions',
        ),
        ("policy.transports.sse.heartbeet = '1s'", "did you mean policy.transports.sse.heartbeat?"),
        ("policy.transports.sse.heartbeat = '1ms'", 'policy.transports.sse.heartbeat = "1ms": expected at least 50ms'),
        (
            "policy.rollouts = [{ name = 'a', arms = { b = { weight = 20 } } }]",
            'policy.rollouts[0].arms = {"b": {"weight": 20}}: expected weights that sum to 100; these sum to 20',
        ),
        (
            "auth.anonymous_scopes = ['broadcast', 'user 7']",
            'auth.anonymous_scopes[1] = "user 7": expected "broadcast"',
        ),
        ("auth.anonymous_scopes = ['news.*']", "auth.anonymous_scopes[0]"),
        ("auth.anonymous_scopes = 'broadcast'", 'expected a list such as ["…", "…"]'),
        ("auth.anonymous_scopes = 'broadcast'", 'did you mean ["broadcast"]?'),
        ("auth.algorithm = 'ES256'", "auth.public_key is not set"),
        ("auth.jwks_url = 'https://a.b/jwks'", 'algorithm "HS256" verifies with the secret'),
        ("auth.public_key = '/nowhere.pem'", 'auth.public_key = "/nowhere.pem": expected a PEM text'),
        ("auth.cookie_same_site = 'none'", "auth.cookie_secure is not set"),
        (
            "auth.cookie_same_site = 'none'\nauth.cookie_secure='never'",
            'auth.cookie_secure = "never": expected "always"',
        ),
        ("cors.origins = ['https://App.example.com/']", 'did you mean "https://app.example.com"?'),
        ("cors.origins = ['https://a.b:443']", 'did you mean "https://a.b"?'),
        ("cors.origins = ['*']", 'no "*"'),
        ("transports.plugins = ['ndjson.py']", 'transports.plugins[0] = "ndjson.py": expected a class by its module'),
        (
            "redis.url = 'postgres://h'",
            'redis.url = (not shown): expected an address such as "redis://localhost:6379/0"',
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_what_is_right(file: Path, toml: str, said: str) -> None:
    file.write_text(toml)
    detail = refusal(file)
    assert said in detail
    assert str(file) in detail


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GAPLESS_HISTORY__RETENTON", "1h", "did you mean GAPLESS_HISTORY__RETENTION (history.retention)?"),
        ("GAPLESS_HISTORY_RETENTION", "1h", "did you mean GAPLESS_HISTORY__RETENTION (history.retention)?"),
        ("GAPLESS_HISTORY", "1h", "did you mean GAPLESS_HISTORY__RETENTION (history.retention)?"),
        ("GAPLESS_PORT", "80", "did you mean GAPLESS_SERVER__PORT (server.port)?"),
        ("GAPLESS_SERVER__PORT__HTTP", "80", "there is no such setting"),
        ("GAPLESS_SSE__HEARTBEAT", "soon", 'sse.heartbeat = "soon": expected a duration'),
        ("GAPLESS_AUTH__ANONYMOUS_SCOPES", "[", "expected a list"),
        ("GAPLESS_AUTH__ANONYMOUS_SCOPES", "3", "expected a list"),
        ("GAPLESS_POLICY__RULES", "[", "expected a list of tables"),
        ("GAPLESS_POLICY__RULES", '[{"name":"a","when":{"sbu":"x"}}]', "did you mean policy.rules[0].when.sub?"),
        ("GAPLESS_POLICY__TRANSPORTS", '{"sse":{"enabled":0}}', "policy.transports.sse.enabled = 0: expected true or"),
        ("GAPLESS_POLICY__TRANSPORTS", "off", "expected a table"),
        (
            "GAPLESS_POLICY__ROLLOUTS",
            '[{"name":"a","arms":{"b":{"weight":20}}}]',
            'policy.rollouts[0].arms = {"b": {"weight": 20}}: expected weights that sum to 100',
        ),
        ("GAPLESS_HISTORY__SCOPE_CAP", "", 'history.scope_cap = "": expected a whole number'),
    ],
)
def test_what_is_wrong_in_a_variable_is_named_with_what_is_right(file: Path, name: str, value: str, said: str) -> None:
    detail = refusal(**{name: value})
    assert f"{name}: " in detail
    assert said in detail


def test_a_flag_is_named_as_it_was_typed(file: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("--port: server.port = 70000: expected at most 65535")):
        load(environ={}, flags={"server.port": 70_000})


def test_all_faults_are_told_at_once(file: Path) -> None:
    file.write_text("histroy.retention = 3\n[sse]\nheartbeat = 'x'\n[policy]\nretry_base = '1m'")
    detail = refusal(file, GAPLESS_ENV="production", GAPLESS_NONSENSE="1", GAPLESS_SERVER__PORT="-1")
    for part in ("histroy", "sse.heartbeat", "policy.retry_max", "GAPLESS_NONSENSE", "GAPLESS_SERVER__PORT"):
        assert part in detail


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("[server]\nport = \n", "line 2, column 8"),
        ("a = 1\na = 2", "line 2, column 6"),
        ("[server\n", "line 1, column 8"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_line_and_column(file: Path, toml: str, place: str) -> None:
    file.write_text(toml)
    assert refusal(file).endswith(place + ")")
    assert str(file) in refusal(file)


def test_a_given_file_that_cannot_be_read_is_told(file: Path) -> None:
    assert "No such file" in refusal(file)
    assert "Is a directory" in refusal(file.parent)
    file.write_bytes(b"# \xff")
    assert "UTF-8" in refusal(file)


def test_a_secret_is_never_repeated(file: Path) -> None:
    file.write_text(f'[auth]\nsecrett = "{SECRET}"\nsecret = ["{SECRET}"]\n[redis]\nurl = "http://me:{SECRET}@h"')
    detail = refusal(file, GAPLESS_AUTH__SECRETS=SECRET, GAPLESS_AUTH__PUBLIC_KEY="-----BEGIN PRIVATE KEY-----x")
    assert "did you mean auth.secret?" in detail
    assert SECRET not in detail
    assert "KEY-----x" not in detail


def test_a_public_key_is_taken_as_text_or_file(file: Path) -> None:
    key = file.with_name("key.pem")
    key.write_text(PEM)
    for given in (PEM, str(key)):
        environ = {"GAPLESS_AUTH__ALGORITHM": "RS256", "GAPLESS_AUTH__PUBLIC_KEY": given}
        assert load(environ=environ).auth.public_key == given
        both = environ | {"GAPLESS_AUTH__JWKS_URL": "https://a.b/jwks"}
        assert "keys come from one place" in refusal(**both)


def test_a_public_key_is_taken_as_deployments_hand_it_over(file: Path) -> None:
    right = pem(rsa_key())
    in_base64 = b64encode(right.encode()).decode()
    der = "".join(right.strip().splitlines()[1:-1])
    forms = [f"\n{right}\n", f'"{right}"', f"'{right}'", right.replace("\n", "\\n"), in_base64, in_base64 + "\n", der]
    for given in forms:
        environ = {"GAPLESS_AUTH__ALGORITHM": "RS256", "GAPLESS_AUTH__PUBLIC_KEY": given}
        taken = load(environ=environ).auth.public_key
        assert taken is not None
        assert "".join(taken.split()) == "".join(right.split()), given
        key = file.with_name("key.pem")
        key.write_text(given)
        assert load(environ=environ | {"GAPLESS_AUTH__PUBLIC_KEY": f" {key}\n"}).auth.public_key == str(key)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("-----BEGIN PRIVATE KEY-----\nx", "this is a private one"),
        (b64encode(b"-----BEGIN RSA PRIVATE KEY-----\nx").decode(), "this is a private one"),
        ("-----BEGIN CERTIFICATE-----\nx", "openssl x509 -pubkey"),
        (b64encode(b"-----BEGIN CERTIFICATE-----\nx").decode(), "openssl x509 -pubkey"),
        ("x" * 5_000, "expected a PEM text"),
        ("a\0b", "expected a PEM text"),
        ("AAAA", "expected a PEM text"),
    ],
    ids=["private", "private-base64", "certificate", "certificate-base64", "long", "nul", "other-base64"],
)
def test_what_is_no_public_key_is_said_and_not_shown(file: Path, given: str, expected: str) -> None:
    file.write_text(f"[auth]\nalgorithm = 'RS256'\npublic_key = {json.dumps(given)}")
    detail = refusal(file)
    assert "auth.public_key" in detail
    assert expected in detail
    assert "LS0t" not in detail
    assert "KEY-----" not in detail
    assert len(detail) < 1_000


# --- the secret ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environ", [{}, {"GAPLESS_AUTH__SECRET": ""}, {"GAPLESS_AUTH__SECRET": "x" * 31}])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_production_refuses_a_missing_or_short_secret(file: Path, environ: dict[str, str], algorithm: str) -> None:
    key = {"GAPLESS_AUTH__PUBLIC_KEY": PEM} if algorithm == "RS256" else {}
    detail = refusal(GAPLESS_ENV="production", GAPLESS_AUTH__ALGORITHM=algorithm, **environ, **key)
    assert "auth.secret" in detail
    assert "at least 32 bytes" in detail
    assert "x" * 31 not in detail


def test_a_secret_is_measured_in_bytes(file: Path) -> None:
    settings = load(environ={"GAPLESS_ENV": "production", "GAPLESS_AUTH__SECRET": "é" * 16})
    assert resolve_secret(settings) == "é" * 16


def test_development_takes_a_short_secret(file: Path) -> None:
    assert resolve_secret(load(environ={"GAPLESS_AUTH__SECRET": "short"})) == "short"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"], ids=repr)
def test_a_line_end_behind_a_secret_does_not_count(file: Path, end: str) -> None:
    file.write_text(f"[auth]\nsecret = {json.dumps(SECRET + end)}")
    assert resolve_secret(load(file, environ={})) == SECRET
    assert resolve_secret(load(environ={"GAPLESS_AUTH__SECRET": SECRET + end})) == SECRET


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f'"{SECRET}"', "without the quotes"),
        (f"'{SECRET}'\n", "without the quotes"),
        (f" {SECRET}", "without white space"),
        (f"{SECRET}\t\n", "without white space"),
        (f"{SECRET}\\n", r"without the \n written out"),
    ],
    ids=["quotes", "single-quotes", "space", "tab", "written-out"],
)
def test_what_a_tool_put_around_a_secret_is_said(file: Path, given: str, expected: str) -> None:
    detail = refusal(GAPLESS_AUTH__SECRET=given)
    assert "auth.secret" in detail
    assert expected in detail
    assert SECRET not in detail


def test_development_makes_a_secret_and_keeps_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    made = resolve_secret(settings)
    assert len(made) >= 32
    assert resolve_secret(settings) == made
    assert [path.name for path in settings.data_dir.iterdir()] == ["secret"]
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700
    assert (settings.data_dir / "secret").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    code = "import sys; from realtime.config import *; sys.stdin.read(); print(resolve_secret(load(environ={})))"
    code = code.replace("load(environ={})", f"load(environ={{'GAPLESS_DATA_DIR': {str(tmp_path / 'data')!r}}})")
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()
        starter.stdin = None
    secrets = {starter.communicate()[0].splitlines()[-1] for starter in starters}
    assert secrets == {(tmp_path / "data/secret").read_text().strip()}


def test_a_secret_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    made = resolve_secret(settings)
    (tmp_path / "secret").chmod(0o644)
    assert resolve_secret(settings) == made
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_damaged_secret_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(ConfigError, match="delete the file"):
        resolve_secret(Settings(data_dir=tmp_path))


def test_half_a_secret_of_a_crashed_start_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_text("hal")
    assert len(resolve_secret(Settings(data_dir=tmp_path))) >= 32
    assert not (tmp_path / "secret.new").exists()


def test_a_data_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "file"))):
        resolve_secret(Settings(data_dir=tmp_path / "file"))


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Settings.model_validate({"data_dir": "~/gapless"}).data_dir == Path("/home/somebody/gapless")


@pytest.mark.parametrize("text", ["rt", "/rt/", "/", "//rt", "/rt?a", "/r t", "/..", "/%41", "https://example.com/rt"])
def test_a_root_path_that_is_none_is_refused(text: str) -> None:
    assert "server.root_path" in refusal(GAPLESS_SERVER__ROOT_PATH=text)
