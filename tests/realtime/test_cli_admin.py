"""The operator's commands, against a real gateway: what they show and change, and what they say when they can't."""

from __future__ import annotations

import asyncio
import json
import os
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from policies.document import parse
from tests.policies.policies import ON_ANDROID
from tests.support.gateway import SECRET, Gateway, gateway
from tests.support.ports import free_port
from tests.support.program import GAPLESS
from tests.support.waiting import patience, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.realtime.conftest import Command

ADMIN = "/api/v1/admin"
READING = ("--url", "--token", "--config", "--json")
CHANGING = (*READING, "--reason", "--yes", "--dry-run")
COMMANDS = {
    "policy show": READING,
    "policy diff": READING,
    "policy apply": CHANGING,
    "policy explain": (
        *(*READING, "--sub", "--platform", "--app-version", "--network", "--state", "--sdk", "--role"),
        *("--channel", "--transport", "--failed"),
    ),
    "policy history": (*READING, "--limit"),
    "policy restore": (*CHANGING, "N"),
    "transport enable": (*CHANGING, "NAME"),
    "transport disable": (*CHANGING, "NAME"),
    "rollout list": READING,
    "rollout set": (*CHANGING, "NAME", "ARM=WEIGHT"),
    "gateways": READING,
    "drain": (*READING, "GATEWAY", "--yes"),
    "revoke": (*READING, "--sub", "--jti", "--until", "--lift", "--reason"),
}
FILE = """
[policy]
preference = ["long-poll", "sse"]

[policy.transports.sse]
heartbeat = "20s"

[[policy.rules]]
name = "metered phones"
when = { network = ["cellular"] }
parameters = { polling = { interval = "60s" } }

[[policy.rollouts]]
name = "sse-on-android"
when = { platform = ["android"], app_version = ">=5.2" }
salt = "2026-11"
[policy.rollouts.arms.control]
preference = ["long-poll", "polling"]
weight = 80
[policy.rollouts.arms.sse]
preference = ["sse", "long-poll", "polling"]
weight = 20
"""


@pytest.fixture
def ask(run: Command, served: Gateway) -> Command:
    """Run a command that succeeds, and return what it prints."""

    async def invoke(*arguments: str) -> str:
        done = await run(*arguments, "--url", served.url)
        assert done.exit_code == 0, done.stderr
        return str(done.stdout)

    return invoke


async def policy(served: Gateway) -> dict[str, Any]:
    answer = await served.http.get(f"{ADMIN}/policy", headers=served.bearer("alice", roles=("viewer",)))
    value: dict[str, Any] = answer.json()
    return value


async def put(served: Gateway, document: dict[str, Any], reason: str = "for the test") -> dict[str, Any]:
    """Put a policy in force as another admin would."""
    headers = {**served.bearer("alice", roles=("admin",)), "If-Match": "*"}
    answer = await served.http.put(f"{ADMIN}/policy", json={"policy": document, "reason": reason}, headers=headers)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def edit(text: str = FILE) -> None:
    with open("config.toml", "w", encoding="utf-8") as file:  # noqa: PTH123 - in the directory that the command runs in
        file.write(text)


# Help


@pytest.mark.parametrize("command", COMMANDS)
async def test_help_names_the_options_gives_examples_and_the_statuses(run: Command, command: str) -> None:
    told = await run(*command.split(), "--help")
    assert told.exit_code == 0
    assert all(option in told.stdout for option in COMMANDS[command])
    assert f"  gapless {command}" in told.stdout
    assert "Exit status" in told.stdout


@pytest.mark.parametrize("group", ["policy", "transport", "rollout"])
async def test_help_of_a_group_names_its_commands(run: Command, group: str) -> None:
    told = await run(group, "--help")
    names = [command.split()[1] for command in COMMANDS if command.startswith(f"{group} ")]
    assert all(f"│ {name}" in told.stdout for name in names)
    assert f"  gapless {group}" in told.stdout
    assert "Exit status" in told.stdout


# Policy: show, diff, apply


async def test_show_prints_toml_that_reads_as_the_policy_in_force(served: Gateway, ask: Command) -> None:
    in_force = await put(served, tomllib.loads(FILE)["policy"], "because\nof # [this]")
    shown = await ask("policy", "show")
    assert parse(tomllib.loads(shown)["policy"]) == parse(in_force["policy"])
    assert shown.splitlines()[0] == f"# Revision 1, in force since {in_force['updated_at']}."
    assert shown.splitlines()[1] == "# By alice: because of # [this]"
    assert json.loads(await ask("policy", "show", "--json")) == await policy(served)


async def test_diff_names_each_value_that_differs_and_ends_with_1(served: Gateway, run: Command) -> None:
    edit()
    told = await run("policy", "diff", "--url", served.url)
    assert told.exit_code == 1
    assert told.stdout.splitlines()[0].split() == ["path", "in", "force", "in", "the", "file"]
    rows = {line.split("  ")[0]: line for line in told.stdout.splitlines()[2:]}
    assert list(rows) == ["preference", "transports.sse.heartbeat", "rules[metered phones]", "rollouts[sse-on-android]"]
    assert '["sse", "long-poll", "polling"]' in rows["preference"]
    assert rows["transports.sse.heartbeat"].split()[1:] == ["–", '"20s"']
    machine = await run("policy", "diff", "--url", served.url, "--json")
    assert machine.exit_code == 1
    first = {"path": "preference", "before": ["sse", "long-poll", "polling"], "after": ["long-poll", "sse"]}
    assert (json.loads(machine.stdout)["revision"], json.loads(machine.stdout)["changes"][0]) == (0, first)


async def test_diff_ends_with_0_when_nothing_differs(served: Gateway, run: Command) -> None:
    edit()
    await put(served, tomllib.loads(FILE)["policy"])
    told = await run("policy", "diff", "--url", served.url)
    assert (told.exit_code, told.stdout) == (0, "")
    assert "revision 1" in told.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no configuration here"),
        ("[policy]\nprefrence = []", "did you mean policy.preference"),
        ("[policy", "this isn't TOML"),
    ],
    ids=["no file", "a wrong key", "no TOML"],
)
async def test_diff_and_apply_need_a_file_that_can_be_used(
    served: Gateway, run: Command, text: str | None, words: str
) -> None:
    if text is not None:
        edit(text)
    compared = await run("policy", "diff", "--url", served.url)
    applied = await run("policy", "apply", "--url", served.url)
    assert compared.exit_code == 2
    assert applied.exit_code in {1, 2}
    assert words in compared.stderr
    assert words in applied.stderr
    assert (await policy(served))["revision"] == 0


async def test_apply_puts_the_file_in_force_and_shows_what_changes(served: Gateway, ask: Command, run: Command) -> None:
    edit()
    told = await run("policy", "apply", "--reason", "for android", "--url", served.url)
    assert (told.exit_code, told.stdout) == (0, "revision 1 is in force\n")
    assert "transports.sse.heartbeat" in told.stderr
    assert "0 of 0 connected clients would move" in told.stderr
    in_force = await policy(served)
    assert (in_force["revision"], in_force["reason"]) == (1, "for android")
    assert in_force["updated_by"].startswith("cli:")
    assert in_force["policy"]["preference"] == ["long-poll", "sse"]
    again = await run("policy", "apply", "--url", served.url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "revision 1 has it so already" in again.stderr
    edit("[policy]\npreference = ['polling']\n")
    assert json.loads(await ask("policy", "apply", "--json")) == await policy(served)


async def test_apply_refuses_what_is_not_installed_in_the_services_words(served: Gateway, run: Command) -> None:
    edit('[policy]\npreference = ["ssee"]\n')
    told = await run("policy", "apply", "--url", served.url)
    assert told.exit_code == 1
    assert 'policy.preference[0]: there is no "ssee"' in told.stderr
    assert "did you mean sse?" in told.stderr


async def test_a_dry_run_says_whom_it_would_move_and_changes_nothing(served: Gateway, ask: Command) -> None:
    edit()
    session = await served.negotiate(body={"transports": ["sse", "long-poll"]})
    async with served.stream({}, ticket=session["ticket"]) as stream:
        await stream.envelope("connection.established")
        told = await ask("policy", "apply", "--dry-run")
        assert "1 of 1 connected clients would move: 1 from sse to long-poll" in told
        machine = json.loads(await ask("policy", "apply", "--dry-run", "--json"))
    assert machine["preview"] == {"connections": 1, "moved": 1, "moves": {"sse": {"long-poll": 1}}, "unanswered": 0}
    assert machine["changes"][0]["path"] == "preference"
    assert (await policy(served))["revision"] == 0


# On a terminal


class Terminal:
    """A command on a terminal."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.shown = ""
        self._ours, theirs = os.openpty()
        environ = {**os.environ, "GAPLESS_AUTH__SECRET": SECRET, "TERM": "xterm", "COLUMNS": "160"}
        self._starting = asyncio.create_subprocess_exec(
            GAPLESS, *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=directory
        )
        self._theirs = theirs

    async def start(self) -> None:
        self.process = await self._starting
        os.close(self._theirs)

    async def shows(self, words: str) -> None:
        async with patience():
            while words not in self.shown:
                self.shown += (await asyncio.to_thread(os.read, self._ours, 65536)).decode()

    async def answer(self, text: str) -> int:
        """Type a line, and return the status of the command."""
        os.write(self._ours, f"{text}\n".encode())
        async with patience():
            status = await self.process.wait()
        self.shown += os.read(self._ours, 65536).decode()
        os.close(self._ours)
        return status


async def test_apply_asks_on_a_terminal_and_takes_no_for_an_answer(
    served: Gateway, run: Command, tmp_path: Path
) -> None:
    edit()
    terminal = Terminal(tmp_path, "policy", "apply", "--url", served.url)
    await terminal.start()
    await terminal.shows("Change it?")
    assert "connected clients would move" in terminal.shown
    assert await terminal.answer("n") == 1
    assert "nothing was changed" in terminal.shown
    assert (await policy(served))["revision"] == 0


async def test_apply_explains_that_somebody_else_was_first(served: Gateway, run: Command, tmp_path: Path) -> None:
    edit()
    terminal = Terminal(tmp_path, "policy", "apply", "--url", served.url)
    await terminal.start()
    await terminal.shows("Change it?")
    await put(served, {"preference": ["polling"]})
    assert await terminal.answer("y") == 1
    assert "the policy was changed meanwhile; revision 1 is in force" in terminal.shown
    assert "gapless policy history tells who was first" in " ".join(terminal.shown.split())
    assert (await policy(served))["policy"]["preference"] == ["polling"]


async def test_the_kill_switch_is_thrown_whoever_else_changes_something(
    served: Gateway, run: Command, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, "transport", "disable", "sse", "--url", served.url)
    await terminal.start()
    await terminal.shows("Change it?")
    await put(served, {"preference": ["polling"]})
    assert await terminal.answer("y") == 0
    in_force = await policy(served)
    assert (in_force["revision"], in_force["policy"]["preference"]) == (2, ["polling"])
    assert in_force["policy"]["transports"]["sse"]["enabled"] is False


# Policy: history, restore, explain


async def test_history_tells_who_changed_what_when_and_why(served: Gateway, ask: Command, run: Command) -> None:
    none = await run("policy", "history", "--url", served.url)
    assert (none.exit_code, none.stdout) == (0, "")
    assert "no changes yet" in none.stderr
    first = await put(served, {"preference": ["polling"]}, "a [bold] try")
    await put(served, {"preference": ["sse"], "move_within": "1s"}, "")
    rows = (await ask("policy", "history")).splitlines()[2:]
    assert rows[0].split()[0] == "2"
    assert 'preference: ["polling"] → ["sse"]' in rows[0]
    assert 'move_within: "10s" → "1s"' in rows[1]
    assert f"1          {first['updated_at'][:19]}Z   alice   a [bold] try" in rows[2]
    assert len((await ask("policy", "history", "--limit", "1")).splitlines()) == 4
    numbers = [one["revision"] for one in json.loads(await ask("policy", "history", "--json"))["revisions"]]
    assert numbers == [2, 1]


async def test_restore_puts_an_earlier_revision_in_force_again(served: Gateway, ask: Command, run: Command) -> None:
    before = await policy(served)
    first = await put(served, {"preference": ["polling"]})
    await put(served, {"preference": ["sse"]})
    told = await run("policy", "restore", "1", "--reason", "it was better", "--url", served.url)
    assert (told.exit_code, told.stdout) == (0, "revision 3 is in force\n")
    assert "in revision 1" in told.stderr
    assert ((await policy(served))["policy"], (await policy(served))["reason"]) == (first["policy"], "it was better")
    assert json.loads(await ask("policy", "restore", "0", "--json"))["policy"] == before["policy"]
    missing = await run("policy", "restore", "99", "--url", served.url)
    assert missing.exit_code == 1
    assert "there is no revision 99" in missing.stderr


async def test_explain_tells_the_decision_and_each_step(served: Gateway, ask: Command) -> None:
    await put(served, tomllib.loads(FILE)["policy"] | {"preference": ["sse", "long-poll", "polling"]})
    client = ("--platform", "android", "--app-version", "5.3", "--network", "wifi", "--state", "foreground")
    arguments = (*client, "--sdk", "js/1.0", "--role", "beta", "--channel", "acme", "--sub", "42")
    told = await ask("policy", "explain", *arguments, "--failed", "sse:buffered", "--failed", "polling")
    arm = "sse" if "in arm sse of sse-on-android" in told else "control"
    assert f"By revision 1, in arm {arm} of sse-on-android:" in told
    lines = [line.split() for line in told.splitlines()]
    assert ["1", "long-poll", "hold", "25s"] in lines
    steps = [line[0] for line in lines[lines.index(["step", "why"]) + 2 :]]
    assert steps == ["preference", "rule", "rollouts", "supported", "failed", "switches", "parameters"]
    only = ("--transport", "polling", "--transport", "sse", "--json")
    machine = json.loads(await ask("policy", "explain", "--network", "cellular", *only))
    offers = machine["decision"]["transports"]
    assert [offer["name"] for offer in offers] == ["sse", "polling"]
    assert offers[1]["interval_ms"] == 60_000
    assert "metered phones" in machine["steps"][1]["reason"]


async def test_explain_says_that_nothing_is_left(served: Gateway, ask: Command) -> None:
    await put(served, {"transports": {"sse": {"enabled": False}}})
    assert "–   none" in await ask("policy", "explain", "--transport", "sse")


# Transports and rollouts


async def test_a_transport_is_switched_off_and_on(served: Gateway, ask: Command, run: Command) -> None:
    session = await served.negotiate(body={"transports": ["sse", "polling"]})
    async with served.stream({}, ticket=session["ticket"]) as stream:
        await stream.envelope("connection.established")
        told = await run("transport", "disable", "sse", "--reason", "it hurts", "--url", served.url)
        assert (told.exit_code, told.stdout) == (0, "revision 1 is in force\n")
        assert "1 of 1 connected clients would move: 1 from sse to polling" in told.stderr
        changed = await stream.envelope("transport.changed")
    assert changed["data"]["decision"]["transports"][0]["name"] == "polling"
    assert (await policy(served))["reason"] == "it hurts"
    again = await run("transport", "disable", "sse", "--url", served.url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "revision 1 has it so already" in again.stderr
    switched = json.loads(await ask("transport", "enable", "sse", "--json"))
    assert switched["policy"]["transports"]["sse"]["enabled"] is True
    assert switched["revision"] == 2


async def test_rollouts_are_listed_and_set(served: Gateway, ask: Command, run: Command) -> None:
    none = await run("rollout", "list", "--url", served.url)
    assert (none.exit_code, none.stdout) == (0, "")
    await put(served, {"rollouts": [ON_ANDROID, {**ON_ANDROID, "name": "plain", "when": {}}]})
    rows = [line.split("  ") for line in (await ask("rollout", "list")).splitlines()[2:]]
    assert [cell.strip() for cell in rows[0] if cell.strip()] == [
        *("sse-on-android", "platform android; app_version >=5.2", "control", "80 %", "long-poll, polling"),
    ]
    assert [cell.strip() for cell in rows[1] if cell.strip()] == ["sse", "20 %", "sse, long-poll, polling"]
    assert "everyone" in [cell.strip() for cell in rows[2]]
    machine = json.loads(await ask("rollout", "list", "--json"))
    assert (machine["revision"], machine["rollouts"]) == (1, (await policy(served))["policy"]["rollouts"])
    assert await ask("rollout", "set", "sse-on-android", "sse=30", "control=70%", "--reason", "up") == (
        "revision 2 is in force\n"
    )
    arms = (await policy(served))["policy"]["rollouts"][0]["arms"]
    assert {name: arm["weight"] for name, arm in arms.items()} == {"control": 70, "sse": 30}
    ramped = json.loads(await ask("rollout", "set", "sse-on-android", "sse=12.5", "control=87.5", "--json"))
    assert ramped["policy"]["rollouts"][0]["arms"]["sse"]["weight"] == 12.5


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("transport", "disable", "ssee"), 1, "there is no transport 'ssee'; did you mean sse?"),
        (("rollout", "set", "sse-on-andriod", "sse=1"), 1, "did you mean sse-on-android?"),
        (("rollout", "set", "sse-on-android", "contol=80"), 1, "did you mean control?"),
        (("rollout", "set", "sse-on-android", "sse=30"), 1, "sum to 100; these sum to 110"),
        (("rollout", "set", "sse-on-android", "sse"), 2, "expected an arm and its weight"),
        (("rollout", "set", "sse-on-android", "sse=much"), 2, "expected an arm and its weight"),
        (("rollout", "set", "sse-on-android", "sse=nan"), 2, "expected an arm and its weight"),
        (("policy", "explain", "--failed", "sse:slow"), 2, "closed-early"),
        (("policy", "restore", "-1"), 2, "No such option"),
        (("policy", "history", "--limit", "0"), 2, "--limit"),
        (("drain", "web"), 1, "there is no gateway 'web'"),
        (("revoke",), 2, "either --sub or --jti is expected"),
        (("revoke", "--sub", "a", "--jti", "b"), 2, "either --sub or --jti is expected"),
        (("revoke", "--sub", "a", "--until", "soon"), 2, "2026-12-24T18:00:00Z"),
        (("revoke", "--sub", "a", "--until", "1h", "--lift"), 2, "leave --until out"),
        (("revoke", "--sub", "a", "--lift"), 1, "the sub 'a' is not revoked"),
        (("revoke", "--sub", "a b"), 1, "sub"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else None,
)
async def test_a_wrong_name_or_value_is_told_and_changes_nothing(
    served: Gateway, run: Command, arguments: tuple[str, ...], status: int, words: str
) -> None:
    await put(served, {"rollouts": [ON_ANDROID]})
    told = await run(*arguments, "--url", served.url)
    assert (told.exit_code, told.stdout) == (status, "")
    assert words in " ".join(told.stderr.replace("│", " ").split())
    assert (await policy(served))["revision"] == 1


# Gateways and revocations


async def test_gateways_are_listed_and_one_is_drained(
    tmp_path: Path, redis_url: str, run: Command, served: Gateway
) -> None:
    (tmp_path / "other").mkdir()
    async with gateway(tmp_path / "other", redis_url) as other:
        name = other.worker.member.gateway

        async def listed() -> dict[str, list[str]]:
            told = await run("gateways", "--url", served.url)
            assert told.exit_code == 0, told.stderr
            return {line.split()[0]: line.split() for line in told.stdout.splitlines()[2:]}

        async def both() -> bool:
            return {one[1] for one in (await listed()).values()} == {"ready"} and len(await listed()) == 2

        await until(both)
        async with other.stream(other.bearer()) as stream:
            await stream.envelope("connection.established")

            async def connected() -> bool:
                return (await listed())[name][2:4] == ["sse", "1"]

            await until(connected)
            misspelt = await run("drain", f"{name}x", "--url", served.url)
            assert misspelt.exit_code == 1
            assert f"did you mean {name}?" in misspelt.stderr
            drained = await run("drain", name, "--url", served.url)
            assert (drained.exit_code, drained.stdout) == (0, f"{name} drains\n")
            assert f"{name} has 1 client (sse 1)" in drained.stderr
            await stream.envelope("gateway.drain-started")

        async def draining() -> bool:
            return (await listed())[name][1] == "draining"

        await until(draining)
        machine = json.loads((await run("gateways", "--url", served.url, "--json")).stdout)
        assert {one["id"] for one in machine["gateways"]} == {name, served.worker.member.gateway}
        last = await run("drain", served.worker.member.gateway, "--url", served.url, "--json")
        assert json.loads(last.stdout) == {"id": served.worker.member.gateway, "draining": True}
        assert "there is no other gateway that is ready" in last.stderr


async def test_a_subject_is_refused_until_that_is_lifted(served: Gateway, ask: Command) -> None:
    async with served.stream(served.bearer("mallory")) as stream:
        await stream.envelope("connection.established")
        assert await ask("revoke", "--sub", "mallory", "--reason", "taken over") == "sub mallory is refused for good\n"
        assert (await stream.envelope("connection.closed"))["data"] == {"code": "credential-revoked"}
    assert (await served.http.get("/api/v1/events/poll", headers=served.bearer("mallory"))).status_code == 401
    assert await ask("revoke", "--sub", "mallory", "--lift") == "sub mallory is refused no longer\n"
    assert (await served.http.get("/api/v1/events/poll", headers=served.bearer("mallory"))).status_code == 200


async def test_a_token_is_refused_until_a_time(served: Gateway, ask: Command) -> None:
    asked = datetime.now(UTC).replace(microsecond=0)
    said = await ask("revoke", "--jti", "a/b c", "--until", "2h")
    ends = datetime.fromisoformat(said.split()[-1])
    assert asked <= ends - timedelta(hours=2) <= datetime.now(UTC)
    machine = json.loads(await ask("revoke", "--jti", "other", "--until", "2099-12-24T18:00:00", "--json"))
    assert (machine["jti"], machine["until"]) == ("other", "2099-12-24T18:00:00.000Z")
    assert await ask("revoke", "--jti", "a/b c", "--lift") == "jti a/b c is refused no longer\n"


# Who may, and who answers

EACH = pytest.mark.parametrize(
    "arguments",
    [
        *(("policy", "apply"), ("policy", "restore", "0"), ("transport", "disable", "sse"), ("drain", "here")),
        *(("rollout", "set", "sse-on-android", "sse=30", "control=70"), ("revoke", "--sub", "somebody")),
    ],
    ids=" ".join,
)


@EACH
async def test_a_viewer_changes_nothing_and_is_told_whose_token_would(
    served: Gateway, run: Command, arguments: tuple[str, ...]
) -> None:
    edit()
    await put(served, {"rollouts": [ON_ANDROID]})
    names = [served.worker.member.gateway if one == "here" else one for one in arguments]
    token = served.token("eve", roles=("viewer",))

    async def heard_of() -> bool:
        answer = await served.http.get(f"{ADMIN}/gateways", headers=served.bearer("eve", roles=("viewer",)))
        return bool(answer.json()["gateways"])

    await until(heard_of)
    told = await run(*names, "--url", served.url, "--token", token)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "this needs a token with 'admin' among its roles" in told.stderr
    assert "--role admin" in told.stderr
    assert (await policy(served))["revision"] == 1


async def test_who_is_neither_is_told_whose_token_would(served: Gateway, run: Command) -> None:
    token = served.token("eve")
    for arguments in (("policy", "show"), ("gateways",), ("policy", "explain")):
        told = await run(*arguments, "--url", served.url, GAPLESS_TOKEN=token)
        assert (told.exit_code, told.stdout) == (1, "")
        assert "'admin' or 'viewer'" in told.stderr
        assert "--role viewer" in told.stderr


async def test_another_secret_is_said_to_be_likely_wrong(served: Gateway, run: Command) -> None:
    other = {"GAPLESS_AUTH__SECRET": "another secret that is long enough too"}
    told = await run("policy", "show", "--url", served.url, **other)
    assert told.exit_code == 1
    assert "is it the service's own?" in told.stderr


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_service_that_is_away_is_said_in_words(run: Command, command: str) -> None:
    edit()
    given = {"policy restore": ["1"], "transport enable": ["sse"], "transport disable": ["sse"], "drain": ["web"]}
    given |= {"rollout set": ["a", "b=1"], "revoke": ["--sub", "a"]}
    url = f"http://127.0.0.1:{free_port()}"
    told = await run(*command.split(), *given.get(command, []), "--url", url)
    assert (told.exit_code, told.stdout) == (2 if command == "policy diff" else 1, "")
    assert f"{url}: " in told.stderr
    assert "Traceback" not in told.stderr
