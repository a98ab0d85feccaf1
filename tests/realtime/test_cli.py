"""The command line: what it prints, what it publishes, what it follows, and what it says when it can't."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest
from typer.testing import CliRunner

from realtime import logs
from realtime.auth import Credentials
from realtime.cli import app
from realtime.cli.console import Failure
from realtime.cli.follow import Follow
from realtime.cli.lines import Batches, Line
from realtime.cli.outbox import Outbox
from realtime.cli.remote import Refused, client
from realtime.config import load
from realtime.server import address
from realtime.server.gateway import run_gateway
from realtime.server.stopping import Ending
from tests.support.gateway import SECRET, Gateway, gateway, settings
from tests.support.ports import free_port
from tests.support.program import GAPLESS, program
from tests.support.waiting import PATIENCE_S, interlude, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from realtime.app import Worker

COMMANDS = {
    "demo": ("--host", "--port", "--config"),
    "serve": ("--host", "--port", "--workers", "--config"),
    "token": ("--sub", "--role", "--scope", "--channel", "--ttl", "--publish", "--config"),
    "publish": ("EVENT", "--scope", "--data", "--key", "--idempotency-key", "--url", "--token", "--keep-going"),
    "tail": ("--transport", "--cursor", "--events", "--scopes", "--url", "--token", "--sub"),
}
KNOWN = {"GAPLESS_AUTH__SECRET": SECRET}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command in this process, in a directory of its own, with nothing configured but the secret."""
    for name in [name for name in os.environ if name.startswith("GAPLESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GAPLESS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda _settings: None)  # this process's logging is the test runner's

    def invoke(*arguments: str, **environ: str) -> Any:  # noqa: ANN401 - typer's result
        return CliRunner().invoke(app, arguments, env={**KNOWN, **environ}, catch_exceptions=False)

    return invoke


def identity(token: str, environ: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - compared with what is expected
    return Credentials(load(environ=environ or {"GAPLESS_AUTH__SECRET": SECRET}), SECRET).bearer(token)


# Help


def test_help_names_every_command(run: Callable[..., Any]) -> None:
    told = run("--help")
    assert told.exit_code == 0
    assert all(re.search(rf"│ {name}\s", told.stdout) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_its_options_gives_examples_and_its_statuses(
    run: Callable[..., Any], command: str
) -> None:
    told = run(command, "--help")
    assert told.exit_code == 0
    assert all(option in told.stdout for option in COMMANDS[command])
    assert f"  gapless {command}" in told.stdout
    assert "Exit status:" in told.stdout


def test_version(run: Callable[..., Any]) -> None:
    assert re.fullmatch(r"gapless \d+\.\d+\.\d+\n", run("--version").stdout)


# Token


def test_token_prints_a_token_and_nothing_else(run: Callable[..., Any]) -> None:
    printed = run(
        *("token", "--sub", "alice", "--role", "publisher", "--role", "editor", "--scope", "topic:news.*"),
        *("--channel", "acme", "--ttl", "60", "--publish", "topic:news.sport", "--publish", "user:7"),
    )
    assert printed.exit_code == 0
    who = identity(printed.stdout.removesuffix("\n"))
    assert (who.sub, who.channel, who.roles) == ("alice", "acme", {"publisher", "editor"})
    assert set(who.publish) == {"topic:news.sport", "user:7"}
    assert "topic:news.*" in who.patterns


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sub", "a b"), "sub"),
        (("--sub", "a", "--scope", "news"), "scope"),
        (("--sub", "a", "--channel", ""), "channel"),
        (("--sub", "a", "--publish", "topic:"), "publish"),
        (("--sub", "a", "--ttl", "0"), "--ttl"),
        ((), "--sub"),
    ],
    ids=["sub", "scope", "channel", "publish", "ttl", "no sub"],
)
def test_token_refuses_what_the_service_would(run: Callable[..., Any], arguments: tuple[str, ...], words: str) -> None:
    refused = run("token", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert words in refused.stderr


def test_token_says_that_it_cant_sign_for_an_identity_provider(run: Callable[..., Any]) -> None:
    environ = {"GAPLESS_AUTH__ALGORITHM": "RS256", "GAPLESS_AUTH__JWKS_URL": "https://id.example.com/jwks"}
    refused = run("token", "--sub", "a", **environ)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "RS256" in refused.stderr


async def test_a_secret_that_is_made_for_a_token_is_said_beside_it(tmp_path: Path) -> None:
    async with program(tmp_path, "token", "--sub", "a") as command:
        assert await command.ended() == 0
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", "\n".join(command.said))
    assert str(tmp_path / "run" / "data" / "secret") in command.errors


def test_a_wrong_configuration_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[sse]\nhartbeat = '5s'\n")
    refused = run("token", "--sub", "a", "--config", str(tmp_path / "mine.toml"))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "sse.heartbeat" in refused.stderr


def test_the_clients_own_variables_are_no_settings(run: Callable[..., Any]) -> None:
    printed = run("token", "--sub", "a", GAPLESS_URL="http://elsewhere:8000", GAPLESS_TOKEN="x.y.z")
    assert printed.exit_code == 0


# Usage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("publish", "Pinged"), "not an event type"),
        (("publish", "host.pinged", "--scope", "topic:*"), "pattern"),
        (("publish", "host.pinged", "--url", "localhost:8000"), "not the address of a service"),
        (("tail", "--cursor", "yesterday"), "not a cursor"),
        (("tail", "--events", "Task"), "not an event"),
        (("tail", "--scopes", "news"), "not a scope"),
        (("tail", "--transport", "websocket"), "long-poll"),
        (("serve", "--port", "99999"), "--port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_told_before_anything_is_done(
    run: Callable[..., Any], arguments: tuple[str, ...], words: str
) -> None:
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert words in " ".join(refused.stderr.replace("│", " ").split())


# Publish


def published(served: Gateway, *arguments: str, directory: Path, **environ: str) -> Any:  # noqa: ANN401 - a context manager
    return program(directory, "publish", *arguments, "--url", served.url, environ={**KNOWN, **environ})


async def log_of(served: Gateway, scopes: tuple[str, ...] = ("topic:*",)) -> list[dict[str, Any]]:
    """Return everything in the log that is visible with some scopes."""
    events: list[dict[str, Any]] = []
    query = {"limit": "1000"}
    while True:
        answer = await served.http.get("/api/v1/events/history", params=query, headers=served.bearer(scopes=scopes))
        page = answer.json()
        events += page["events"]
        if not page["more"]:
            return events
        query["since_id"] = page["cursor"]


async def test_publish_prints_the_id_of_what_is_in_the_log(served: Gateway, tmp_path: Path) -> None:
    arguments = ("host.pinged", "--scope", "topic:host", "--data", '{"n": 1.50, "ü": "\\u2028"}', "--key", "host:a")
    async with published(served, *arguments, directory=tmp_path) as command:
        assert await command.ended() == 0, command.errors
    (event,) = await log_of(served)
    assert command.said == [event["id"]]
    assert (event["event"], event["scope"], event["key"]) == ("host.pinged", "topic:host", "host:a")
    assert event["data"] == {"n": 1.5, "ü": "\u2028"}


async def test_publish_with_the_same_idempotency_key_is_one_event(served: Gateway, tmp_path: Path) -> None:
    said = []
    for _ in range(2):
        async with published(served, "a.b", "--idempotency-key", "once", directory=tmp_path) as command:
            assert await command.ended() == 0, command.errors
        said += command.said
    assert len(set(said)) == 1
    assert [event["id"] for event in await log_of(served)] == said[:1]


async def test_publish_takes_a_line_for_an_event_and_keeps_their_order(served: Gateway, tmp_path: Path) -> None:
    async with published(served, "a.b", "--scope", "topic:t", "--data", "-", directory=tmp_path) as command:
        await command.write("".join(f'{{"n":{n}}}\n{"" if n % 100 else "  "}' for n in range(1, 1201)))
        assert await command.ended() == 0, command.errors
    events = await log_of(served)
    assert [event["data"]["n"] for event in events] == list(range(1, 1201))
    assert command.said == [event["id"] for event in events]


async def test_publish_sends_what_comes_while_more_may_come(served: Gateway, tmp_path: Path) -> None:
    async with published(served, "a.b", "--data", "-", directory=tmp_path) as command:
        for n in range(3):
            await command.write(f"{n}\n")
            await command.line("-")
            assert [event["data"] for event in await log_of(served)] == list(range(n + 1))
        assert await command.ended() == 0


async def test_publish_names_the_first_bad_line_and_sends_nothing_after_it(served: Gateway, tmp_path: Path) -> None:
    async with published(served, "a.b", "--data", "-", directory=tmp_path) as command:
        await command.write('1\n\n2\n{"n":}\n3\n')
        assert await command.ended() == 1
    assert [event["data"] for event in await log_of(served)] == [1, 2]
    assert len(command.said) == 2
    assert "error: line 4: not JSON" in command.errors
    assert "2 published before it" in command.errors


async def test_publish_names_a_line_that_the_service_wont_have(served: Gateway, tmp_path: Path) -> None:
    large = json.dumps("x" * 70_000)
    async with published(served, "a.b", "--data", "-", "--keep-going", "-q", directory=tmp_path) as command:
        await command.write(f"1\n{large}\n2\nnone\n3\n")
        assert await command.ended() == 1
    assert [event["data"] for event in await log_of(served)] == [1, 2, 3]
    assert command.said == []
    assert "error: line 2: " in command.errors
    assert "error: line 4: not JSON" in command.errors
    assert "2 of 5 lines could not be published" in command.errors


async def test_publish_says_how_far_it_came_when_it_is_interrupted(served: Gateway, tmp_path: Path) -> None:
    async with published(served, "a.b", "--data", "-", directory=tmp_path) as command:
        await command.write("1\n")
        await command.line("-")
        command.interrupt()
        assert await command.ended(within_s=5) == 130
    assert "interrupted: 1 published" in command.errors
    assert "Traceback" not in command.errors


async def test_publish_shows_a_person_how_far_it_is_and_keeps_that_out_of_the_ids(
    served: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_text("1\n2\n3\n")
    ours, theirs = os.openpty()
    with (tmp_path / "lines").open() as lines, (tmp_path / "ids").open("w") as ids:
        command = await asyncio.create_subprocess_exec(
            *(GAPLESS, "publish", "a.b", "--data", "-", "--url", served.url),
            stdin=lines,
            stdout=ids,
            stderr=theirs,
            env={**os.environ, **KNOWN, "TERM": "xterm"},
            cwd=tmp_path,
        )
        assert await command.wait() == 0
    os.close(theirs)
    shown = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "3 published" in shown
    assert (tmp_path / "ids").read_text().split() == [event["id"] for event in await log_of(served)]


async def test_publish_with_another_secret_says_what_is_likely_wrong(served: Gateway, tmp_path: Path) -> None:
    environ = {"GAPLESS_AUTH__SECRET": "another secret that is long enough too"}
    async with published(served, "a.b", directory=tmp_path, **environ) as command:
        assert await command.ended() == 1
    assert "is it the service's own?" in command.errors
    assert "Traceback" not in command.errors


async def test_publish_gives_up_in_words_when_the_service_is_away(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with program(tmp_path, "publish", "a.b", "--url", url, "--retry-for", "0.3", environ=KNOWN) as command:
        assert await command.ended() == 1
    assert f"{url}" in command.errors
    assert "gave up after 0.3 s" in command.errors
    assert "Traceback" not in command.errors


# What publish is made of


def test_what_was_perhaps_published_is_sent_again_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[Callable[[httpx2.Request], httpx2.Response]] = iter(
        [
            lambda request: (_ for _ in ()).throw(httpx2.ReadError("the reply was lost", request=request)),
            lambda _request: httpx2.Response(503, headers={"Retry-After": "0"}, json={"detail": "away"}),
            lambda _request: httpx2.Response(401, json={"detail": "expired"}),
            lambda _request: httpx2.Response(201, json={"events": [{"id": "1-1", "duplicate": True}]}),
        ]
    )
    requests: list[tuple[bytes, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append((request.content, request.headers["authorization"]))
        return next(answers)(request)

    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    tokens = iter(["first", "second"])
    with httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://service") as http:
        outbox = Outbox(http, lambda: next(tokens), retry_for_s=60)
        assert [one.id for one in outbox.send([b'{"n":1}'])] == ["1-1"]
    assert {body for body, _ in requests} == {b'{"events":[{"n":1}]}'}
    assert [bearer for _, bearer in requests] == ["Bearer first"] * 3 + ["Bearer second"]


def test_lines_that_come_fast_come_together_and_within_the_limits(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("a\n\n bb \r\nccc\nd\n" + "e" * 50 + "\nf")
    with file.open("rb") as lines:
        batches = list(Batches(lines.fileno(), most_lines=3, most_bytes=10))
    assert batches == [
        [Line(1, b"a"), Line(3, b"bb"), Line(4, b"ccc")],
        [Line(5, b"d")],
        [Line(6, b"e" * 50)],
        [Line(7, b"f")],
    ]


def test_a_line_that_comes_alone_waits_for_no_other() -> None:
    reading, writing = os.pipe()
    batches = iter(Batches(reading, most_lines=500, most_bytes=1000))
    for number, text in enumerate((b"one", b"two"), 1):
        os.write(writing, text + b"\nthr")
        assert next(batches) == [Line(number, text if number == 1 else b"thr" + text)]
    os.close(writing)
    assert list(batches) == [[Line(3, b"thr")]]
    os.close(reading)


# Tail


class Enough(Exception):
    """Ends a follower."""


class Tail:
    """A follower in a thread of its own, until it has seen an event whose data is ``"last"``."""

    def __init__(self, served: Gateway, transport: str, **options: Any) -> None:  # noqa: ANN401 - as `Follow` takes them
        self.seen: list[dict[str, Any]] = []
        self.told: list[str] = []
        self._news = threading.Condition()
        self._ended_by: BaseException | None = None
        self._http = client(served.url)
        options = {"token": lambda: served.token(scopes=("topic:*",)), "transports": (transport,), **options}
        self._follow = Follow(self._http, deliver=self._deliver, tell=self._tell, **options)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def tells(self, words: str, times: int = 1) -> None:
        """Wait until it has told something, so many times."""

        def told() -> bool:
            with self._news:
                return self._news.wait_for(lambda: sum(words in text for text in self.told) >= times, PATIENCE_S)

        assert await asyncio.to_thread(told), self.told

    async def finished(self) -> list[Any]:
        """Wait for the last event, and return the data of all."""
        await asyncio.to_thread(self._thread.join, PATIENCE_S)
        assert isinstance(self._ended_by, Enough), self._ended_by
        return [event["data"] for event in self.seen]

    def _run(self) -> None:
        try:
            with self._http:
                self._follow.run()
        except BaseException as reason:  # noqa: BLE001 - looked at by the test
            self._ended_by = reason

    def _tell(self, text: str) -> None:
        with self._news:
            self.told.append(text)
            self._news.notify_all()

    def _deliver(self, raw: bytes) -> None:
        self.seen.append(json.loads(raw))
        if self.seen[-1]["data"] == "last":
            raise Enough


TRANSPORTS = ["sse", "long-poll", "polling"]
QUICK = {"POLLING__INTERVAL": "50ms", "SSE__RETRY": "50ms", "SSE__LIFETIME": "400ms"}


@asynccontextmanager
async def restarted(directory: Path, redis_url: str, port: int) -> AsyncIterator[Gateway]:
    """Serve as ``gapless serve`` does, on a port that the one before has just left."""
    configured = settings(directory, redis_url, {**QUICK, "SERVER__PORT": str(port)})
    ready = asyncio.Event()
    serving = asyncio.create_task(
        run_gateway(configured, redis_url, address.bind(configured.server), ready.set, Ending())
    )
    async with patience():
        await ready.wait()
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url) as http:
        yield Gateway(url, cast("Worker", SimpleNamespace(credentials=Credentials(configured, SECRET))), http)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tail_misses_and_repeats_nothing_while_the_service_comes_and_goes(
    tmp_path: Path, redis_url: str, transport: str
) -> None:
    port, tail, n = free_port(), None, 0
    for outage in range(3):
        async with restarted(tmp_path, redis_url, port) as served:
            tail = tail or Tail(served, transport)
            if not outage:
                await tail.tells("following on")
            for _ in range(4):  # into the gap first, then also while it listens
                await served.publish({"data": n}, {"data": n + 1}, {"scope": "user:somebody-else", "data": "hidden"})
                n += 2
                await tail.tells("connected again", times=outage)
        await tail.tells("trying again", times=outage + 1)
    assert tail is not None
    async with restarted(tmp_path, redis_url, port) as served:
        await served.publish({"data": "last"})
        assert await tail.finished() == [*range(n), "last"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tail_outlives_its_tickets(tmp_path: Path, redis_url: str, transport: str) -> None:
    async with gateway(tmp_path, redis_url, {**QUICK, "AUTH__TICKET_TTL": "2s"}) as served:
        tail = Tail(served, transport)
        await tail.tells("following on")
        for n in range(10):
            await served.publish({"data": n})
            await interlude(0.25)  # together, these are longer than a ticket lives
        await served.publish({"data": "last"})
        assert await tail.finished() == [*range(10), "last"]
    assert len(tail.told) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tail_says_what_it_cant_be_given(tmp_path: Path, redis_url: str, transport: str) -> None:
    async with gateway(tmp_path, redis_url, QUICK) as served:
        await served.publish({"data": "before"})
        tail = Tail(served, transport, cursor="1-1")
        await tail.tells("history.truncated")
        await served.publish({"data": "last"})
        assert await tail.finished() == ["last"]


async def test_tail_from_the_earliest_shows_all_history_and_narrows_it(served: Gateway) -> None:
    await served.publish({"event": "task.begun", "data": 1}, {"event": "other.thing", "data": 2})
    await served.publish(
        {"event": "task.ended", "scope": "topic:x", "data": 3}, {"event": "task.ended", "data": "last"}
    )
    tail = Tail(served, "sse", cursor="earliest", narrowing={"events": "task.*", "scopes": "broadcast"})
    assert await tail.finished() == [1, "last"]


def scripted(*answers: tuple[int, dict[str, Any]], asked: list[tuple[str, str]]) -> httpx2.Client:
    """A service that gives these answers, one after the other, and then the last event."""
    script = iter(answers)
    offer = {"name": "long-poll", "url": "/long-poll", "hold_ms": 100}
    session = {"ticket": "t", "ticket_expires_in_ms": 60000, "cursor": "1-0", "decision": {"transports": [offer]}}
    last = {"events": [{"id": "9-9", "event": "a.b", "data": "last"}], "cursor": "9-9"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.url.path, request.url.params.get("cursor", "")))
        if request.method == "POST":
            return httpx2.Response(200, json=session)
        status, body = next(script, (200, last))
        return httpx2.Response(status, json=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://service")


def followed(http: httpx2.Client) -> list[str]:
    told: list[str] = []

    def stop(_raw: bytes) -> None:
        raise Enough

    with http, pytest.raises((Enough, Failure, Refused)):
        Follow(http, lambda: "token", stop, told.append, ("long-poll",)).run()
    return told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tail_that_is_interrupted_while_it_prints_an_event_goes_on_after_it(number: signal.Signals) -> None:
    follow = Follow(scripted(asked=[]), lambda: "token", lambda _: signal.raise_signal(number), list[str]().append)
    with pytest.raises(KeyboardInterrupt):
        follow.take(b'{"id":"9-9","event":"a.b","data":1}')
    assert follow.cursor == "9-9"


def test_tail_that_is_interrupted_twice_while_it_prints_does_not_wait_for_its_reader() -> None:
    def stuck(_raw: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")

    follow = Follow(scripted(asked=[]), lambda: "token", stuck, list[str]().append)
    with pytest.raises(KeyboardInterrupt):
        follow.take(b'{"id":"9-9","event":"a.b","data":1}')
    assert follow.cursor is None


def test_tail_asks_for_another_ticket_when_its_own_is_refused_or_ends_or_it_is_moved() -> None:
    asked: list[tuple[str, str]] = []
    followed(
        scripted(
            (401, {"detail": "the ticket has expired"}),
            (200, {"events": [], "cursor": "2-0", "control": [{"event": "ticket.expired"}]}),
            (
                200,
                {"events": [], "cursor": "3-0", "control": [{"event": "transport.changed", "data": {"within_ms": 5}}]},
            ),
            asked=asked,
        )
    )
    negotiate = ("/api/v1/events/negotiate", "")
    assert asked == [
        *(negotiate, ("/long-poll", "1-0")),
        *(negotiate, ("/long-poll", "1-0")),
        *(negotiate, ("/long-poll", "2-0")),
        *(negotiate, ("/long-poll", "3-0")),
    ]


@pytest.mark.parametrize("event", ["connection.replaced", "connection.closed"])
def test_tail_stops_when_it_is_told_to(event: str) -> None:
    asked: list[tuple[str, str]] = []
    body = {"events": [], "cursor": "2-0", "control": [{"event": event, "data": {"code": "by-admin"}}]}
    followed(scripted((200, body), asked=asked))
    assert len(asked) == 2


def test_tail_does_not_insist_on_what_is_refused_for_good() -> None:
    asked: list[tuple[str, str]] = []
    followed(scripted((403, {"detail": "a scope isn't held", "code": "scope-not-held"}), asked=asked))
    assert len(asked) == 2


def test_tail_says_that_something_else_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([httpx2.Response(200, html="<p>Sign in to this network</p>")])
    asked: list[tuple[str, str]] = []
    service = scripted(asked=asked)
    transport = httpx2.MockTransport(lambda request: next(pages, None) or service.send(request))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    told = followed(httpx2.Client(transport=transport, base_url="http://service"))
    assert "doesn't seem to be Gapless" in told[0]
    assert told[-1] == "connected again"


async def test_tail_prints_what_comes_and_ends_with_ctrl_c_and_its_cursor(served: Gateway, tmp_path: Path) -> None:
    async with program(tmp_path, "tail", "--sub", "demo", "--url", served.url, environ=KNOWN) as command:
        assert command.process.stderr is not None
        await command.process.stderr.readuntil(b"following on sse from ")
        await served.publish({"scope": "user:demo", "data": {"n": 1.50}}, {"scope": "user:other"}, {"scope": "topic:t"})
        first, second = json.loads(await command.line()), json.loads(await command.line())
        command.interrupt()
        assert await command.ended(within_s=5) == 0
    assert [first["scope"], second["scope"]] == ["user:demo", "topic:t"]
    assert f"--cursor {second['id']}" in command.errors
    assert "Traceback" not in command.errors


async def test_tail_ends_quietly_when_nobody_reads_it(served: Gateway, tmp_path: Path) -> None:
    await served.publish(*[{"data": n} for n in range(3)])
    tail = f"gapless tail --cursor earliest --url {served.url} | head -n 1"
    path = f"{GAPLESS.parent}:{os.environ['PATH']}"
    async with program(tmp_path, "-c", tail, command="sh", environ={**KNOWN, "PATH": path}) as command:
        assert json.loads(await command.line())["data"] == 0
        await served.publish({"data": 3})
        assert await command.ended() == 0
    assert "Traceback" not in command.errors
