"""Which archive a host's apt configuration means; the programs of apt are scripts here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import debian, proc
from harness.debian import Archive, Entry, PrivateApt, choose_archives, parse_sources
from harness.errors import HostMissing, SourceError
from harness.workspace import Workspace

MAIN = "http://mirror.example/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEB822 = f"""\
# A comment before.
Types: deb deb-src
URIs: {MAIN}/
Suites: bookworm
# A comment within.
 bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: {MAIN}-security
Suites: bookworm-security
Components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 /4mBQd
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = f"""\
# deb http://off.example/debian bookworm main
deb-src {MAIN} bookworm main
deb {MAIN}/ bookworm main contrib # the archive
deb [ arch=amd64 signed-by={KEYRING} ] {MAIN}-security bookworm-security main
"""


def entry(uri: str, suite: str, *components: str, keyring: str = "") -> Entry:
    path = Path(keyring) if keyring else None
    return Entry(uri=uri, suite=suite, components=components or ("main",), keyring=path)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(debian.VARIABLE, raising=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a shell script in front of the host's programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


@pytest.fixture
def apt(
    program: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An apt that was never updated, so that indextargets is silent; its ``etc`` is returned."""
    etc = tmp_path / "etc"
    (etc / "parts").mkdir(parents=True)
    program("apt-config", f"echo \"LIST='{etc}/sources.list'\"; echo \"PARTS='{etc}/parts/'\"")
    program("apt-get", "exit 0")
    monkeypatch.setattr(debian, "_KEYRING", tmp_path / "none.gpg")
    return etc


# -- reading -------------------------------------------------------------------------


def test_deb822_sources() -> None:
    assert parse_sources(DEB822, deb822=True) == [
        entry(MAIN, "bookworm", "main", "contrib", keyring=str(KEYRING)),
        entry(MAIN, "bookworm-updates", "main", "contrib", keyring=str(KEYRING)),
        # A line of the key within begins with a slash, and is no path.
        entry(f"{MAIN}-security", "bookworm-security"),
    ]


def test_one_line_sources() -> None:
    assert parse_sources(ONE_LINE, deb822=False) == [
        entry(MAIN, "bookworm", "main", "contrib"),
        entry(f"{MAIN}-security", "bookworm-security", keyring=str(KEYRING)),
    ]


# -- choosing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        entry("http://vendor.example/apt", "bookworm"),
        entry("http://vendor.example/apt", "stable"),
        entry("http://vendor.example/debian", "bookworm", "stable"),
        entry("http://vendor.example/debian", "bookworm", keyring="/etc/apt/keyrings/vendor.gpg"),
        entry("http://vendor.example/debian", "bookworm-vendor"),
        entry("http://known.example/debian", "bookworm"),
        entry("cdrom:[debian-12]", "bookworm"),
    ],
    ids=lambda one: f"{one.uri}-{one.suite}",
)
def test_what_is_not_debians_is_ignored(other: Entry) -> None:
    origins = debian.parse_origins("http://known.example/debian/ bookworm Vendor and Sons\n")
    assert choose_archives([other, entry(MAIN, "bookworm")], origins).main.uri == MAIN
    with pytest.raises(HostMissing) as caught:
        choose_archives([other], origins)
    assert debian.VARIABLE in caught.value.hint


def test_the_first_of_each_kind_is_taken() -> None:
    other = "http://other.example/debian"
    suites = ("bookworm", "bookworm-security", "bookworm-backports")
    entries = [entry(uri, suite) for uri in (MAIN, other) for suite in suites]
    found = choose_archives(entries, {})
    assert found.security is not None
    assert (found.main.uri, found.security.uri) == (MAIN, MAIN)


def test_an_origin_tells_more_than_a_name() -> None:
    mirror = entry("http://mirror.example/os", "bookworm", keyring="/etc/apt/keyrings/os.gpg")
    origins = debian.parse_origins("http://mirror.example/os/ bookworm Debian\n\n")
    assert choose_archives([mirror], origins).main == Archive(
        uri="http://mirror.example/os", keyring=Path("/etc/apt/keyrings/os.gpg")
    )


@pytest.mark.parametrize(("name", "text"), [("d.sources", DEB822), ("d.list", ONE_LINE)])
def test_a_host_whose_apt_was_never_updated(apt: Path, name: str, text: str) -> None:
    (apt / "parts" / name).write_text(text)
    (apt / "parts" / "d.list.save").write_text("deb http://old.example/debian bookworm main\n")
    (apt / "sources.list").write_text("deb http://vendor.example/x bookworm main\n")
    found = debian.find_archives()
    assert found.main.uri == MAIN
    assert found.security is not None
    assert found.security.uri == f"{MAIN}-security"
    signed = found.main.keyring or found.security.keyring
    assert signed == KEYRING


def test_the_variable_beats_apt(apt: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    (tmp_path / "none.gpg").touch()
    monkeypatch.setenv(debian.VARIABLE, "http://named.example/debian/")
    found = debian.find_archives()
    keyring = tmp_path / "none.gpg"
    assert found.main == Archive(uri="http://named.example/debian", keyring=keyring)
    assert found.security == Archive(uri="http://named.example/debian-security", keyring=keyring)


# -- lists ---------------------------------------------------------------------------


def test_every_suite_goes_to_its_archive(apt: Path) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    assert debian.sources_list(
        ("bookworm", "bookworm-security"), types=("deb", "deb-src"), components=("main", "contrib")
    ) == (
        f"deb {MAIN} bookworm main contrib\n"
        f"deb-src {MAIN} bookworm main contrib\n"
        f"deb [signed-by={KEYRING}] {MAIN}-security bookworm-security main contrib\n"
        f"deb-src [signed-by={KEYRING}] {MAIN}-security bookworm-security main contrib\n"
    )


def test_without_a_security_archive_its_suites_are_left_out(
    apt: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (apt / "sources.list").write_text(f"deb {MAIN} sid main\n")
    listing = debian.sources_list(("bookworm", "bookworm-security"))
    assert listing == f"deb {MAIN} bookworm main\n"
    assert "bookworm-security is left out" in caplog.text


# -- an apt of its own ---------------------------------------------------------------


def test_versions_come_newest_first_and_once(
    apt: Path, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    program(
        "apt-cache",
        "echo ' linux-source | 2.0-1 | http://a bookworm-security/main amd64 Packages'\n"
        "echo ' linux-source | 2.0-1 | http://a bookworm/main amd64 Packages'\n"
        "echo ' linux-source | 1.0-1 | http://a bookworm/main amd64 Packages'\n"
        "echo ' another | 3.0-1 | http://a bookworm/main amd64 Packages'",
    )
    workspace = Workspace(tmp_path / "state")
    with PrivateApt.open(workspace, ("bookworm",)) as private:
        assert private.versions("linux-source") == ["2.0-1", "1.0-1"]
        assert list((tmp_path / "state" / "tmp").iterdir()) == [private.folder]
    assert not list((tmp_path / "state" / "tmp").iterdir())


def test_what_apt_says_first_is_what_is_told(
    apt: Path, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    with PrivateApt.open(Workspace(tmp_path / "state"), ("bookworm",)) as private:
        program(
            "apt-get", "echo 'E: no route' >&2; echo 'E: Some index files failed' >&2; exit 100"
        )
        with pytest.raises(SourceError, match="apt-get update failed: E: no route"):
            private.update()


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this host")
class TestRealApt:
    """The host's own apt, over a file: archive; no network."""

    @pytest.fixture
    def private(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        archive = tmp_path / "debian"
        (archive / "dists/x/main/binary-amd64").mkdir(parents=True)
        (archive / "dists/x/main/binary-amd64/Packages").touch()
        (archive / "dists/x/Release").write_text("Suite: x\nComponents: main\n")
        monkeypatch.setenv(debian.VARIABLE, f"file:{archive}")
        return archive

    def test_an_unsigned_archive_is_refused(self, private: Path, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path / "state")
        with (
            PrivateApt.open(workspace, ("x",)) as apt,
            pytest.raises(SourceError, match="not signed") as caught,
        ):
            apt.update()
        assert "debian-archive-keyring" in caught.value.hint

    def test_hooks_and_lists_of_the_host_are_out_of_reach(
        self, private: Path, tmp_path: Path
    ) -> None:
        hooked = tmp_path / "host.conf"
        hooked.write_text('APT::Update::Post-Invoke { "rm cache"; };\n')
        with PrivateApt.open(Workspace(tmp_path / "state"), ("x",)) as apt:
            conf = apt.folder / "apt.conf"
            conf.write_text(hooked.read_text() + conf.read_text())
            dump = proc.run(["apt-config", "-c", conf, "dump"]).stdout
            folders = [line for line in dump.splitlines() if line.startswith("Dir::State")]
            assert "rm cache" not in dump
            assert 'APT::Update::Error-Mode "any";' in dump
            assert f'Dir::State::lists "{apt.folder}/lists";' in folders
            assert f'Dir::State::status "{apt.folder}/status";' in folders
