"""The command `trio-hubs serve`: where it listens, by TLS too, what it logs, and how it follows its sources."""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2
import msgspec
import pytest
import trio
import trustme
from trio.testing import MockClock

from trio_hubs.cli.commands import app, run_command
from trio_hubs.cli.reload import INTERVAL, sources, wait_changed

from .test_cli import COMMAND, lines_of

APP = """
from trio_hubs import Hub, HubApp, Response

class Sample(Hub):
    def word(self) -> str:
        return "first"

def make_app():
    app = HubApp()
    app.add_hub("/sample", Sample)
    app.add_route("/word", lambda _: Response(body="first"))
    return app
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A current folder with an app."""
    tmp_path.joinpath("sample.py").write_text(APP, encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def serving(
    folder: Path, *words: str, descriptors: tuple[int, ...] = ()
) -> AsyncGenerator[trio.Process]:
    """The command, run in a folder, told to end with the body, which it does in order."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, "serve", "sample:make_app", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        process.kill()
        await process.wait()


async def address_of(process: trio.Process) -> str:
    [line] = await lines_of(process, 1)
    assert line.startswith("listening ")
    return line.split()[1]


async def complaint(process: trio.Process) -> str:
    """What a process says next on standard error."""
    assert process.stderr is not None
    return (await process.stderr.receive_some()).decode()


# ---- where


async def test_it_listens_at_a_unix_socket(folder: Path) -> None:
    async with serving(folder, "--uds", "door") as process:
        assert await address_of(process) == "unix:door"
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=f"{folder}/door")) as http:
            assert (await http.get("http://here/word")).text == "first"
    assert not folder.joinpath("door").exists()


async def test_it_listens_at_descriptors_and_at_a_port(folder: Path) -> None:
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        descriptors = (one.fileno(), two.fileno())
        words = [word for descriptor in descriptors for word in ("--fd", f"{descriptor}")]
        async with serving(folder, *words, "--port", "0", descriptors=descriptors) as process:
            addresses = [line.split()[1] for line in await lines_of(process, 3)]
            assert addresses[1:] == [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
            async with httpx2.AsyncClient(trust_env=False) as http:
                assert [(await http.get(f"{address}/word")).text for address in addresses] == ["first"] * 3


def certified(folder: Path) -> list[str]:
    """The options that name a certificate and its key, which are made."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    return ["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem"]


@pytest.mark.parametrize("reload", [(), ("--reload",)], ids=["once", "again"])
async def test_it_speaks_tls_and_calls_trust_a_file(reload: tuple[str, ...], folder: Path) -> None:
    words = ["--port", "0", *certified(folder), *reload]
    async with serving(folder, *words) as process:
        address = await address_of(process)
        assert address.startswith("https://127.0.0.1:")
        url = f"{address.replace('https', 'wss')}/sample"
        for trust, status in ((["--cafile", f"{folder}/ca.pem"], 0), ([], 2)):
            call = await trio.run_process(
                [*COMMAND, "invoke", url, "Word", *trust],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            assert (call.returncode, call.stdout) == (status, b"" if status else b'"first"\n')


# ---- logs


async def test_the_log_level_says_what_is_logged(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--log-level", "info") as process:
        address = await address_of(process)
        assert f"INFO trio_hubs.server.app: listening on {address}\n" in await complaint(process)


async def test_requests_are_logged_as_json_where_that_is_asked_for(folder: Path) -> None:
    async with serving(folder, "--port", "0", "--log-format", "json", "--access-log") as process:
        address = await address_of(process)
        async with httpx2.AsyncClient(trust_env=False) as http:
            await http.get(f"{address}/nowhere")
        (line,) = map(msgspec.json.decode, (await complaint(process)).splitlines())
    assert (line["logger"], line["client"], line["path"], line["status"]) == (
        "trio_hubs.access",
        "127.0.0.1",
        "/nowhere",
        404,
    )


# ---- reload


async def test_a_change_is_served_by_a_process_of_its_own_at_the_same_port(folder: Path) -> None:
    source = folder / "sample.py"

    async def word() -> str:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            return (await http.get(f"{address}/word")).text

    async with serving(folder, "--port", "0", "--reload") as process:
        address = await address_of(process)
        assert await word() == "first"

        source.write_text(APP.replace("first", "second"), encoding="utf-8")
        assert await complaint(process) == "trio-hubs: changed: sample.py\n"
        assert await word() == "second"  # which waited for the new process, if that did not listen yet
        assert await address_of(process) == address

        source.write_text("def (\n", encoding="utf-8")
        text = ""
        while "until a file changes" not in text:
            text += await complaint(process)
        changed, fault, ended = text.splitlines()
        assert changed == "trio-hubs: changed: sample.py"
        assert fault.startswith("trio-hubs: cannot import 'sample': SyntaxError")
        assert ended == "trio-hubs: the server has ended with status 2, until a file changes"

        source.write_text(APP.replace("first", "third"), encoding="utf-8")
        assert await word() == "third"
        assert await address_of(process) == address


def test_the_process_that_serves_again_has_every_option(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    async def note(command: list[str], **_: Any) -> None:
        ran.append(command)
        raise LookupError

    monkeypatch.setattr(trio, "run_process", note)
    monkeypatch.chdir(folder)
    with socket.socket() as inherited:
        inherited.bind(("127.0.0.1", 0))
        places = ["--host", "127.0.0.1", "--port", "0", "--uds", "door"]
        places += ["--fd", f"{os.dup(inherited.fileno())}"]  # which the command closes
        log = ["--log-level", "info", "--log-format", "json", "--access-log"]
        times = ["--drain", "3", "--notice", "2"]
        given = ["serve", "sample:make_app", *places, *log, *times, *certified(folder), "--reload"]
        with pytest.raises(LookupError):
            run_command(given)
    asked, passed = options_of(given), options_of(ran[0][3:])
    usual = options_of(["serve", "sample:make_app"])
    same = {name for name, value in asked.items() if value == usual[name]}
    assert same == {"name", "workers", "backplane"}  # the latter do not go with --reload
    assert len(passed["fd"]) == 3
    for name in ("host", "port", "uds", "fd", "reload"):
        passed[name] = asked[name] = None
    assert passed == asked


def options_of(words: list[str]) -> dict[str, Any]:
    """What each option of the command would be."""
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    options: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        options |= attrs.asdict(value, recurse=False) if attrs.has(type(value)) else {name: value}
    return options


@pytest.mark.parametrize("change", ["touched", "made", "removed"])
async def test_a_file_that_is_touched_made_or_removed_is_a_change(
    change: str, folder: Path, autojump_clock: MockClock
) -> None:
    more = folder / "inner" / "more.py"
    more.parent.mkdir()
    if change != "made":
        more.touch()
    before = sources(folder)

    async def alter() -> None:
        await trio.sleep(100)
        if change == "touched":
            os.utime(more, ns=(1, 1))
        elif change == "made":
            more.touch()
        else:
            more.unlink()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alter)
        assert await wait_changed(folder, before) == [str(Path("inner", "more.py"))]
    assert 100 <= trio.current_time() <= 100 + INTERVAL


def test_what_is_not_a_source_of_the_app_is_left_out(folder: Path) -> None:
    for name in (".hidden", "node_modules", "__pycache__", "environment"):
        folder.joinpath(name).mkdir()
        folder.joinpath(name, "other.py").touch()
    folder.joinpath("environment", "pyvenv.cfg").touch()
    folder.joinpath("notes.txt").touch()
    folder.joinpath("gone.py").symlink_to("nowhere.py")
    assert list(sources(folder)) == ["sample.py"]


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "trio-hubs" in script


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = subprocess.run([*COMMAND, "completion", "bash"], capture_output=True, text=True, check=True)
    tmp_path.joinpath("completion").write_text(script.stdout, encoding="utf-8")

    def completed(*words: str) -> list[str]:
        line = f"""
            source {tmp_path}/completion
            COMP_WORDS=(trio-hubs {" ".join(words)}) COMP_CWORD={len(words)}
            _trio_hubs
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()

    assert completed("se") == ["send", "serve"]
    assert "--reload" in completed("serve", "chat:app", "--re")
    assert completed("stream", "--protocol", "m") == ["messagepack"]
