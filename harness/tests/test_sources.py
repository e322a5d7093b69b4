"""Every kind of source, from a server on the loopback, a repository or a folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from harness import debian, proc
from harness.errors import SeriesError, SourceError
from harness.kernel import sources
from harness.model import Base, DebianSource, DirectorySource, GitSource, Source, TarballSource
from harness.workspace import PROJECT, Workspace

TREE = {"Kconfig": "mainmenu\n", "kernel/audit.c": "int audit;\n", "scripts/run": "#!/bin/sh\n"}


def make_tarball(files: dict[str, str] = TREE) -> bytes:
    raw = io.BytesIO()
    # Noise that does not compress: so that there is something to break off.
    noise = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(2000))
    with tarfile.open(fileobj=raw, mode="w:xz") as tar:
        for name, content in [*((n, t.encode()) for n, t in files.items()), ("noise", noise)]:
            info = tarfile.TarInfo(f"linux-1.0/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


BODY = make_tarball()
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2


def write_tree(folder: Path, files: dict[str, str] = TREE) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def base_of(source: Source) -> Base:
    return Base(name="1.0", source=source)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Workspace(tmp_path / "state")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "unpacked"
    path.mkdir()
    return path


# -- tarballs ------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves BODY the way that ``mood`` says; ``ranges`` is what was asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mood = "good"
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/linux-1.0.tar.xz"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        asked, mood = self.headers["Range"], self.server.mood
        self.server.ranges.append(asked)
        self.close_connection = True
        if mood == "missing":
            return self.send_error(404)
        begin = int(asked[6:-1]) if asked and mood != "ignores ranges" else 0
        if begin >= len(BODY):
            return self.send_error(416)
        body = BODY[begin:]
        self.send_response(206 if begin else 200)
        if mood == "breaks off in chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"{len(body):x}\r\n".encode() + body[:HALF])
            return None
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:HALF] if mood == "breaks off" else body)
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def tarball(url: str, sha256: str = SHA256) -> Base:
    return base_of(TarballSource(url=url, sha256=sha256))


def partial_of(workspace: Workspace, sha256: str = SHA256) -> Path:
    return workspace.work("partial") / sha256


def test_a_tarball_is_fetched_once(server: Server, workspace: Workspace, folder: Path) -> None:
    told: list[tuple[int, int | None]] = []
    first = sources.fetch(
        tarball(server.url, SHA256.upper()),
        workspace,
        on_progress=lambda *now: told.append(now),
    )
    server.mood = "missing"
    assert sources.fetch(tarball(server.url), workspace).archive == first.archive
    assert (first.key, first.version, first.note) == (SHA256, "linux-1.0.tar.xz", "")
    assert told[-1] == (len(BODY), len(BODY))
    assert server.ranges == [None]
    assert not partial_of(workspace).exists()
    sources.unpack(first, folder)
    assert files_of(folder) == sorted([*TREE, "noise"])


@pytest.mark.parametrize("mood", ["breaks off", "breaks off in chunks"])
def test_a_broken_download_goes_on(server: Server, workspace: Workspace, mood: str) -> None:
    server.mood = mood
    with pytest.raises(SourceError) as caught:
        sources.fetch(tarball(server.url), workspace)
    assert "goes on where it stopped" in caught.value.hint
    assert workspace.find("source", SHA256) is None
    have = partial_of(workspace).stat().st_size
    assert have == (HALF if mood == "breaks off" else have)
    server.mood = "good"
    fetched = sources.fetch(tarball(server.url), workspace)
    assert server.ranges == [None, f"bytes={have}-" if have else None]
    assert fetched.archive is not None
    assert fetched.archive.read_bytes() == BODY


def test_a_server_without_ranges_begins_again(server: Server, workspace: Workspace) -> None:
    partial_of(workspace).write_bytes(b"x" * HALF)
    server.mood = "ignores ranges"
    told: list[tuple[int, int | None]] = []
    fetched = sources.fetch(
        tarball(server.url), workspace, on_progress=lambda *now: told.append(now)
    )
    assert told[-1] == (len(BODY), len(BODY))
    assert server.ranges == [f"bytes={HALF}-"]
    assert fetched.archive is not None
    assert fetched.archive.read_bytes() == BODY


def test_a_partial_that_is_whole_needs_no_more(server: Server, workspace: Workspace) -> None:
    partial_of(workspace).write_bytes(BODY)
    assert sources.fetch(tarball(server.url), workspace).key == SHA256


@pytest.mark.parametrize("begun", [b"", b"x" * HALF], ids=["afresh", "resumed"])
def test_a_wrong_checksum_leaves_nothing(
    server: Server, workspace: Workspace, begun: bytes
) -> None:
    wanted = "0" * 64
    if begun:
        partial_of(workspace, wanted).write_bytes(begun)
    got = hashlib.sha256(begun + BODY[len(begun) :]).hexdigest()
    with pytest.raises(SourceError) as caught:
        sources.fetch(tarball(server.url, wanted), workspace)
    assert wanted in caught.value.message
    assert got in caught.value.message
    assert "\n" not in caught.value.message
    assert workspace.find("source", wanted) is None
    assert not list(workspace.work("partial").iterdir())
    assert not list((workspace.root / "tmp").iterdir())


def test_a_missing_tarball(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    server.mood = "missing"
    with pytest.raises(SourceError, match="the server says 404"):
        sources.fetch(tarball(server.url), workspace)
    with pytest.raises(SourceError, match="cannot be fetched"):
        sources.fetch(tarball(f"file://{tmp_path}/none.tar"), workspace)
    assert workspace.find("source", SHA256) is None


def test_a_tarball_on_this_disk(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "linux.tar.xz").write_bytes(BODY)
    assert sources.fetch(tarball(f"file://{tmp_path}/linux.tar.xz"), workspace).key == SHA256


@pytest.mark.parametrize(
    ("body", "said"),
    [(make_tarball({"README": ""}), "no Kconfig"), (b"no tarball", "cannot be unpacked")],
    ids=["no kernel", "no tarball"],
)
def test_what_is_no_kernel(
    workspace: Workspace, tmp_path: Path, folder: Path, body: bytes, said: str
) -> None:
    (tmp_path / "x.tar.xz").write_bytes(body)
    base = tarball(f"file://{tmp_path}/x.tar.xz", hashlib.sha256(body).hexdigest())
    with pytest.raises(SourceError, match=said):
        sources.unpack(sources.fetch(base, workspace), folder)


# -- git -----------------------------------------------------------------------------


class Repository:
    """A repository with one commit of TREE, and a rule that "git archive" would follow."""

    def __init__(self, folder: Path) -> None:
        self.folder = write_tree(folder, {**TREE, ".gitattributes": "kernel export-ignore\n"})
        self.git("init", "--quiet", "--initial-branch=main")
        self.first = self.commit()

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        return proc.run(["git", "-C", self.folder, *who, *words]).stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")
        return self.git("rev-parse", "HEAD")

    def base(self, ref: str) -> Base:
        return base_of(GitSource(repository=str(self.folder), ref=ref))


@pytest.fixture
def repository(tmp_path: Path, workspace: Workspace) -> Repository:
    return Repository(tmp_path / "repository")


def test_a_branch_is_followed(repository: Repository, workspace: Workspace, folder: Path) -> None:
    old = sources.fetch(repository.base("main"), workspace)
    (repository.folder / "kernel/audit.c").write_text("int changed;\n")
    new = sources.fetch(repository.base("main"), workspace)
    assert (old.key, new.key, new.note) == (repository.first, repository.first, "")
    second = repository.commit()
    new = sources.fetch(repository.base("main"), workspace)
    assert new.key == second
    sources.unpack(new, folder)
    assert files_of(folder) == sorted([*TREE, ".gitattributes"])
    assert (folder / "kernel/audit.c").read_text() == "int changed;\n"


def test_a_full_commit_id_is_fetched_once(repository: Repository, workspace: Workspace) -> None:
    (repository.folder / "new").touch()
    repository.commit()
    assert sources.fetch(repository.base(repository.first), workspace).key == repository.first
    shutil.rmtree(repository.folder)
    again = sources.fetch(repository.base(repository.first), workspace)
    assert (again.key, again.note) == (repository.first, "")


def test_refs_that_look_like_folders_of_each_other(
    repository: Repository, workspace: Workspace
) -> None:
    repository.git("tag", "--annotate", "--message=x", "a")
    repository.git("branch", "a/b")
    assert sources.fetch(repository.base("a"), workspace).key == repository.first
    assert sources.fetch(repository.base("a/b"), workspace).key == repository.first


def test_a_branch_out_of_reach_is_taken_as_it_was(
    repository: Repository, workspace: Workspace
) -> None:
    sources.fetch(repository.base("main"), workspace)
    shutil.rmtree(repository.folder)
    fetched = sources.fetch(repository.base("main"), workspace)
    assert fetched.key == repository.first
    assert "of an earlier time is taken" in fetched.note
    with pytest.raises(SourceError, match="other cannot be fetched") as caught:
        sources.fetch(repository.base("other"), workspace)
    assert "git ls-remote" in caught.value.hint


# -- folders -------------------------------------------------------------------------

LEFT_BY_A_BUILD = dict.fromkeys(
    [
        *(".config", "vmlinux", "vmlinux.o", "System.map", "modules.order", ".vmlinux.cmd"),
        *("kernel/audit.o", "kernel/.audit.o.cmd", "include/generated/x.h"),
    ],
    "",
)


def test_a_checkout_is_taken_as_it_stands(
    repository: Repository, workspace: Workspace, folder: Path
) -> None:
    base = base_of(DirectorySource(path=repository.folder))
    changes = {"Kconfig": "changed\n", "new.c": "", ".gitignore": "*.o\n", "kernel/audit.o": ""}
    write_tree(repository.folder, changes)
    (repository.folder / "scripts/run").unlink()
    (repository.folder / "link").symlink_to("Kconfig")
    sources.unpack(sources.fetch(base, workspace), folder)
    assert files_of(folder) == sorted(
        [".gitattributes", ".gitignore", "Kconfig", "kernel/audit.c", "link", "new.c"]
    )
    assert (folder / "Kconfig").read_text() == "changed\n"
    assert (folder / "link").is_symlink()


@pytest.mark.parametrize("blanket", ["", "/*\n!/debian/\n"], ids=["kernel's", "Debian's"])
def test_a_tree_without_git_loses_what_a_build_left(
    tmp_path: Path, workspace: Workspace, folder: Path, blanket: str
) -> None:
    rules = f".*\n*.o\n/include/generated/\n{blanket}"
    kept = {**TREE, ".gitignore": rules, "kernel/.gitignore": "", "Makefile": "", "lib/tags/x": ""}
    tree = write_tree(tmp_path / "tree", {**kept, **LEFT_BY_A_BUILD})
    sources.unpack(sources.fetch(base_of(DirectorySource(path=tree)), workspace), folder)
    assert files_of(folder) == sorted(kept)


def test_the_key_of_a_folder_is_its_content(tmp_path: Path, workspace: Workspace) -> None:
    tree = write_tree(tmp_path / "tree")
    keys = [sources.fetch(base_of(DirectorySource(path=tree)), workspace).key]
    twin = write_tree(tmp_path / "twin", {**TREE, "vmlinux": ""})
    assert sources.fetch(base_of(DirectorySource(path=twin)), workspace).key == keys[0]
    (tree / "scripts/run").chmod(0o755)
    keys.append(sources.fetch(base_of(DirectorySource(path=tree)), workspace).key)
    (tree / "kernel/audit.c").write_text("int other;\n")
    keys.append(sources.fetch(base_of(DirectorySource(path=tree)), workspace).key)
    assert len(set(keys)) == 3


def test_a_folder_that_changes_meanwhile_is_refused(
    tmp_path: Path, workspace: Workspace, folder: Path
) -> None:
    tree = write_tree(tmp_path / "tree")
    fetched = sources.fetch(base_of(DirectorySource(path=tree)), workspace)
    (tree / "kernel/audit.c").write_text("int other;\n")
    with pytest.raises(SourceError, match="changed while it was read"):
        sources.unpack(fetched, folder)


def test_nobody_is_told_to_remove_a_folder_of_their_own(
    repository: Repository, workspace: Workspace, folder: Path
) -> None:
    base = base_of(DirectorySource(path=repository.folder))
    fetched = sources.fetch(base, workspace)
    (repository.folder / ".git/index").write_text("broken")
    with pytest.raises(SourceError, match="cannot be unpacked") as caught:
        sources.unpack(fetched, folder)
    assert "remove" not in caught.value.hint


def test_a_folder_that_is_no_kernel(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(SourceError, match="no kernel tree"):
        sources.fetch(base_of(DirectorySource(path=tmp_path)), workspace)


# -- Debian --------------------------------------------------------------------------


class Archive:
    """Stands in for PrivateApt: a package of each version; ``asked`` is what it was opened for."""

    def __init__(self, package: Path, versions: Sequence[str]) -> None:
        self.package, self.known = package, list(versions)
        self.asked: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def open(self, _: Workspace, suites: Sequence[str]) -> Iterator[Self]:
        self.asked.append(tuple(suites))
        yield self

    def update(self) -> None:
        """There is nothing to fetch."""

    def versions(self, _: str) -> list[str]:
        return self.known

    def download(self, package: str, version: str, folder: Path) -> Path:
        return Path(shutil.copy(self.package, folder / f"{package}_{version}_all.deb"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    one = Archive(tmp_path / "package", ["2.0-2", "2.0-1"])
    one.package.write_text("a package")
    monkeypatch.setattr(debian, "PrivateApt", one)
    return one


def package(suite: str, version: str) -> Base:
    return base_of(DebianSource(suite=suite, package="linux-source-2.0", version=version))


def test_the_pinned_version_is_taken_once(archive: Archive, workspace: Workspace) -> None:
    first = sources.fetch(package("bookworm", "2.0-1"), workspace)
    assert (first.version, first.note) == ("2.0-1", "")
    assert first.key == hashlib.sha256(b"a package").hexdigest()
    assert sources.fetch(package("bookworm", "2.0-1"), workspace) == first
    assert archive.asked == [("bookworm", "bookworm-updates", "bookworm-security")]


@pytest.mark.parametrize("suite", ["trixie-backports", "sid", "experimental"])
def test_suites_that_stand_alone(archive: Archive, workspace: Workspace, suite: str) -> None:
    sources.fetch(package(suite, "2.0-1"), workspace)
    assert archive.asked == [(suite,)]


def test_a_version_that_is_gone_is_replaced_and_told(
    archive: Archive, workspace: Workspace
) -> None:
    first = sources.fetch(package("bookworm", "1.0-1"), workspace)
    archive.known = ["3.0-1"]
    assert sources.fetch(package("bookworm", "1.0-1"), workspace) == first
    assert first.version == "2.0-2"
    assert "1.0-1" in first.note
    assert "2.0-2" in first.note
    assert len(archive.asked) == 1


def test_a_package_that_is_not_there(archive: Archive, workspace: Workspace) -> None:
    archive.known = []
    with pytest.raises(SourceError, match="bookworm has no package linux-source-2.0"):
        sources.fetch(package("bookworm", "2.0-1"), workspace)
    assert not list((workspace.root / "tmp").iterdir())


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on this host")
@pytest.mark.parametrize("name", ["linux-source-2.0.tar.xz", "something-else.tar.xz"])
def test_a_package_is_unpacked(
    archive: Archive, workspace: Workspace, tmp_path: Path, folder: Path, name: str
) -> None:
    control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\n"
    tree = write_tree(tmp_path / "deb", {"DEBIAN/control": f"{control}Description: x\n"})
    (tree / "usr/src").mkdir(parents=True)
    (tree / "usr/src" / name).write_bytes(BODY)
    proc.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, archive.package])
    fetched = sources.fetch(package("bookworm", "2.0-1"), workspace)
    if name.startswith("linux"):
        sources.unpack(fetched, folder)
        assert files_of(folder) == sorted([*TREE, "noise"])
    else:
        with pytest.raises(SourceError, match="cannot be unpacked"):
            sources.unpack(fetched, folder)


# -- bases.toml ----------------------------------------------------------------------

GOOD = '["1.0"]\nkind = "git"\nrepository = "r"\nref = "main"\n'
SUM = "0" * 64


def test_the_bases_of_this_project() -> None:
    bases = sources.load_bases(PROJECT / "kernel-patches" / "bases.toml")
    assert next(iter(bases)) == "6.12"
    for name in ("6.12", "6.1", "7.3"):
        source = bases[name].source
        assert isinstance(source, DebianSource)
        assert source.package == f"linux-source-{name}"
        assert source.version.startswith(f"{name}.")
        assert bases[name].objects > 0


def test_relative_paths_start_at_the_file(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "patches" / "bases.toml"
    path.parent.mkdir()
    path.write_text(
        '[a]\nkind = "directory"\npath = "../linux"\n'
        '[b]\nkind = "git"\nrepository = "~/src"\nref = "x"\n'
        '[c]\nkind = "git"\nrepository = "https://x.example/y"\nref = "x"\nobjects = 7\n'
        f'[d]\nkind = "tarball"\nurl = "https://x.example/y"\nsha256 = "{SUM}"\n'
    )
    assert sources.load_bases(path) == {
        "a": Base(name="a", source=DirectorySource(path=tmp_path / "linux")),
        "b": Base(name="b", source=GitSource(repository=f"{tmp_path}/src", ref="x")),
        "c": Base(name="c", source=GitSource(repository="https://x.example/y", ref="x"), objects=7),
        "d": Base(name="d", source=TarballSource(url="https://x.example/y", sha256=SUM)),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no base"),
        ("[", "not TOML"),
        ('"1.0" = 1', '["1.0"] is not a table'),
        (GOOD.replace("1.0", "a/b"), '["a/b"]: a base\'s name'),
        (GOOD.replace('"git"', '"svn"'), "[\"1.0\"]: 'kind' is 'svn'"),
        (GOOD.replace('"git"', "[]"), "[\"1.0\"]: 'kind' is []"),
        (GOOD.replace("ref", "rev"), "[\"1.0\"]: unknown key 'rev'"),
        (GOOD.replace('ref = "main"', ""), "[\"1.0\"]: 'ref' must be"),
        (GOOD.replace('"main"', '""'), "[\"1.0\"]: 'ref' must be"),
        (GOOD.replace('"main"', "1"), "[\"1.0\"]: 'ref' must be"),
        (f'{GOOD}objects = "9"', "[\"1.0\"]: 'objects' must be"),
        (f"{GOOD}objects = -1", "[\"1.0\"]: 'objects' must be"),
        (f"{GOOD}objects = true", "[\"1.0\"]: 'objects' must be"),
        (f'[x]\nkind="tarball"\nurl="ftp://x/y"\nsha256="{SUM}"', "[\"x\"]: 'url' must be"),
        ('[x]\nkind="tarball"\nurl="file:///y"\nsha256="g0"', "[\"x\"]: 'sha256' must be"),
    ],
)
def test_malformed_bases(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bases.toml"
    path.write_text(text)
    with pytest.raises(SeriesError) as caught:
        sources.load_bases(path)
    assert said in caught.value.message
    assert caught.value.message.startswith("bases.toml")
    assert caught.value.hint
