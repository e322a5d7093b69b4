"""The store of a cluster: what is put in comes out, exactly, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cluster.address import Cluster
from harness.cluster.store import Shared, Store
from harness.errors import HarnessError, UsageError
from harness.workspace import MANIFEST, Workspace


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "there")


def make(workspace: Workspace, text: str = "kernel") -> Path:
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "vmlinux").write_text(text)
        (folder / "config").write_text("CONFIG_A=y\n")

    return workspace.make("kernel", "k" * 64, fill) / "sub" / "vmlinux"


def stored(root: Path, shared: Shared) -> Path:
    return root / shared.kind / shared.key / shared.seal


def test_an_entry_arrives_whole(here: Workspace, there: Workspace, tmp_path: Path) -> None:
    store, url = tmp_path / "store", (tmp_path / "store").as_uri()
    shared = Store(url, here).push(make(here))
    path = Store(url, there).pull(shared)
    assert path.read_text() == "kernel"
    assert (path.parent.parent / "config").read_text() == "CONFIG_A=y\n"
    assert there.root in path.parents
    # It is in the cache now, and the store is not asked again.
    stored(store, shared).joinpath("config").unlink()
    assert Store(url, there).pull(shared) == path


def test_what_is_there_already_is_used(here: Workspace, tmp_path: Path) -> None:
    path = make(here)
    store = Store(str(tmp_path / "store"), here)
    assert store.pull(store.push(path)) == path


def test_two_builds_of_one_key_are_two_things(
    here: Workspace, there: Workspace, tmp_path: Path
) -> None:
    one, other = Store(str(tmp_path / "s"), here), Store(str(tmp_path / "s"), there)
    shared = one.push(make(here))
    theirs = make(there, "built otherwise")
    assert other.push(theirs) != shared
    assert other.pull(shared).read_text() == "kernel"
    assert theirs.read_text() == "built otherwise"


def test_a_file_of_somebody_s_own_is_shared_too(
    here: Workspace, there: Workspace, tmp_path: Path
) -> None:
    own = tmp_path / "bzImage"
    own.write_text("own")
    facts = Store(str(tmp_path / "s"), here).share(
        {"kernels": [{"vmlinux": own, "config": tmp_path / "none", "stack": "kernel"}]}
    )
    (kernel,) = Store(str(tmp_path / "s"), there).fetch(facts)["kernels"]
    assert kernel["vmlinux"].read_text() == "own"
    assert kernel["config"] is None
    assert kernel["stack"] == "kernel"


@pytest.mark.parametrize("damage", ["content", "manifest", "gone", "half"])
def test_what_is_damaged_is_not_taken(
    here: Workspace, there: Workspace, tmp_path: Path, damage: str
) -> None:
    shared = Store(str(tmp_path / "s"), here).push(make(here))
    place = stored(tmp_path / "s", shared)
    match damage:
        case "content":
            (place / "sub" / "vmlinux").write_text("kernex")
        case "manifest":
            manifest = place / MANIFEST
            manifest.write_text(manifest.read_text().replace("config", "gonfig"))
        case "gone":
            (place / "config").unlink()
        case "half":
            (place / MANIFEST).unlink()
    with pytest.raises(HarnessError, match=r"is damaged|has no"):
        Store(str(tmp_path / "s"), there).pull(shared)
    assert there.find("kernel", f"{shared.key}.{shared.seal[:16]}") is None


def test_a_manifest_names_nothing_outside(
    here: Workspace, there: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Store(str(tmp_path / "s"), here).push(make(here))
    manifest = stored(tmp_path / "s", shared) / MANIFEST
    manifest.write_text(manifest.read_text().replace('"config"', '"../../config"'))
    # Whoever can write to the store can make a seal that fits, but the client tells the seal.
    monkeypatch.setattr("harness.cluster.store._seal", lambda _manifest: shared.seal)
    with pytest.raises(HarnessError, match=r"names a file '\.\./\.\./config'"):
        Store(str(tmp_path / "s"), there).pull(shared)


def test_a_store_that_is_none_is_told(here: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no store"):
        Store("gopher://host/store", here)
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="takes nothing"):
        Store(str(tmp_path / "file" / "below"), here).push(make(here))


def test_an_executor_is_an_address_and_what_it_needs() -> None:
    assert Cluster.parse("dask://127.0.0.1:8786") == Cluster("tcp://127.0.0.1:8786", {"guest": 1.0})
    asked = Cluster.parse("dask://[::1]:8786?need=kvm")
    assert asked == Cluster("tcp://[::1]:8786", {"guest": 1.0, "kvm": 1.0})


@pytest.mark.parametrize(
    "text", ["dask", "dask://", "dask://host", "dask://host:x", "spark://h:1", "dask://h:1?kvm"]
)
def test_what_is_no_executor_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no executor") as caught:
        Cluster.parse(text)
    assert "dask://HOST:PORT" in caught.value.hint
