"""A comparison of designs: the truth, the judge, what is counted, and what is made of it."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness import cli
from harness.bench.cost import STATES, THINGS, Seen
from harness.compare import code, kept, measures, report, result, size
from harness.compare.designs import DESIGNS, require_designs, strip
from harness.compare.judge import Judged, Outcome, Said, judge, judge_log, read_trail, resolve
from harness.compare.payload import boxes
from harness.compare.result import Comparison, Measure, Tally
from harness.compare.truth import Deed, Facts, Log, names_for, read_facts
from harness.compare.workload import choose_stack
from harness.errors import HarnessError, UsageError
from harness.kernel import series
from harness.trail.index import read_logs
from harness.trail.model import Model
from harness.trail.names import Names
from harness.trail.sources import find_sources
from harness.workspace import PROJECT, Workspace

DATA = Path(__file__).with_name("data") / "compare"
KEPT = PROJECT / "kernel-patches/COMPARISON.md"
HOSTS = ("a", "b")
CONTID, NSID = DESIGNS["contid"], DESIGNS["nsid"]
# What each design cannot know, and how that shows; the others of the workload are right.
NOT_RIGHT: Mapping[str, Mapping[str, Outcome]] = {
    "contid": {
        "container that no orchestrator knows": Outcome.WRONG,
        "migration of which the restore tells nothing": Outcome.WRONG,
    },
    "nsid": {
        "nsenter from the host": Outcome.WRONG,
        "packet into a network namespace of one": Outcome.NONE,
        "packet into a network namespace of two": Outcome.NONE,
        "setns into mnt": Outcome.WRONG,
        "setns into mnt and net": Outcome.WRONG,
        "target of a signal between containers": Outcome.NONE,
        "attacker enters the host's namespaces": Outcome.WRONG,
        "container without namespaces of its own": Outcome.WRONG,
        "migration of which the restore tells nothing": Outcome.NONE,
    },
}
# No id was given to it, and no orchestrator has written down its namespaces.
NOT_TOGETHER = {"migration of which the restore tells nothing": Outcome.NONE}


def facts_of(folder: Path = DATA) -> Facts:
    lines = [
        line for host in HOSTS for line in (folder / host / "truth.jsonl").read_text().splitlines()
    ]
    return read_facts(lines)


def logs_of(name: str) -> Mapping[str, Log]:
    """The logs of a real run, of which one deed of each case is left, by one design."""
    whole = {host: (DATA / host / "audit.log").read_bytes() for host in HOSTS}
    return {host: Log(strip(data, DESIGNS[name])) for host, data in whole.items()}


# -- logs of one design ----------------------------------------------------------------


def test_a_log_of_one_design_has_nothing_of_the_other() -> None:
    log = (
        b"type=UNKNOWN[1340] msg=audit(1.000:5): record=1 contid=7\n"
        b'type=SYSCALL msg=audit(1.000:5): pid=1 key=(null) record=1\x1dAUID="root"\n'
        b"node=x type=NS_INFO msg=audit(1.000:5): dev=00:04 mntns=1\n"
        b"type=USER msg=audit(1.000:6): msg='x type=UNKNOWN[1340] record=1 '\n"
    )
    contid, nsid = strip(log, CONTID), strip(log, NSID)
    assert b"NS_INFO" not in contid
    assert contid.count(b"\n") == 3
    assert b"record=1\x1d" in contid
    assert nsid.count(b"\n") == 3
    assert b'key=(null)\x1dAUID="root"\n' in nsid
    assert b"msg='x type=UNKNOWN[1340] record=1 '" in nsid


def test_two_known_designs_are_compared() -> None:
    assert [one.name for one in require_designs(["nsid", "contid"])] == ["nsid", "contid"]
    for names in (["contid"], ["contid", "contid"], ["contid", "cgroup"], ["contid"] * 3):
        with pytest.raises(UsageError):
            require_designs(names)


def test_the_workload_runs_on_the_smallest_kernel_that_has_both() -> None:
    catalogue = series.load(Path(__file__).parents[2] / "kernel-patches")
    both = list(DESIGNS.values())
    assert choose_stack(catalogue, both, "7.3").name == "ids-7.3"
    with pytest.raises(UsageError, match=r"no stack on base 6\.1 has contid and nsid"):
        choose_stack(catalogue, both, "6.1")


# -- the truth -------------------------------------------------------------------------


def test_what_is_no_fact_is_refused() -> None:
    for line in ("Traceback", "{}", '{"fact": "rumour"}', '{"fact": "deed", "key": "1"}', "3"):
        with pytest.raises(HarnessError, match="no fact"):
            read_facts([line])


def test_a_deed_that_was_not_logged_is_an_error() -> None:
    log = logs_of("nsid")["a"]
    assert log.serial("packet", "0x1001")
    with pytest.raises(HarnessError, match="no event of path 9999"):
        log.serial("path", "9999")


def test_names_are_those_that_only_one_container_had() -> None:
    facts = facts_of()
    spaces = names_for(NSID, facts, logs_of("nsid")).known
    assert names_for(CONTID, facts, logs_of("contid")).known["4101"] == "plain-1"
    pods = {one.name: one for one in facts.containers}
    assert pods["pod-1"].namespaces["net"] == pods["pod-2"].namespaces["net"]
    kinds = {
        name: {key.split(":")[1][:3] for key, one in spaces.items() if one == name}
        for name in ("pod-1", "pod-2", "plain-2")
    }
    assert kinds["pod-1"] == kinds["pod-2"] == kinds["plain-2"] - {"net"}
    assert "net" in kinds["plain-2"]
    again = [key for key, name in spaces.items() if name == "reuse-2"]
    assert any(re.search(r"/\d+$", key) for key in again if key.startswith("a/ns:mnt"))
    # With which namespaces it came back nobody has written down.
    assert "mover-2" not in {name for key, name in spaces.items() if key.startswith("b/")}


def test_who_sends_a_packet_sees_it_come_in() -> None:
    boxes.do_listen("127.0.0.1", 0, 0.05)
    with pytest.raises(TimeoutError):
        boxes.do_receive()
    boxes.do_listen("127.0.0.1", 0, 20.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", boxes._listening[-1].getsockname())
    boxes.do_receive()
    assert not boxes._listening


# -- the judge -------------------------------------------------------------------------


def deed(*truth: str, role: str = "subject") -> Deed:
    return Deed(host="a", key="1", case="c", by="path", role=role, truth=truth)


@pytest.mark.parametrize(
    ("one", "said", "outcome"),
    [
        (deed("x"), Said(named=(("subject", "x"),)), Outcome.RIGHT),
        (deed("x"), Said(named=(("subject", "y"),)), Outcome.WRONG),
        (deed("x"), Said(named=(("subject", "x"), ("subject", "y"))), Outcome.WRONG),
        (deed("x"), Said(named=(("target", "x"),)), Outcome.WRONG),
        (deed("x"), Said(named=(("subject", ""),)), Outcome.NONE),
        (deed("x"), Said(), Outcome.WRONG),
        (deed("x"), Said(reason="unknown", why="lost"), Outcome.NONE),
        (deed(), Said(), Outcome.RIGHT),
        (deed(), Said(named=(("target", "y"),)), Outcome.RIGHT),
        (deed(), Said(named=(("subject", "y"),)), Outcome.WRONG),
        (deed(), Said(named=(("subject", ""),)), Outcome.WRONG),
        (deed(), Said(reason="unknown", why="lost"), Outcome.NONE),
        (deed("y", role="target"), Said(named=(("subject", "x"), ("target", "y"))), Outcome.RIGHT),
        (deed("y", role="target"), Said(named=(("target", "x"),)), Outcome.WRONG),
        (deed("y", role="target"), Said(named=(("subject", "x"),)), Outcome.NONE),
        (deed("y", role="target"), Said(), Outcome.NONE),
        (
            deed("x", "y", role="packet"),
            Said(named=(("packet", "x"), ("packet", "y"))),
            Outcome.RIGHT,
        ),
        (deed("x", "y", role="packet"), Said(named=(("packet", "x"),)), Outcome.WRONG),
        (deed("x", role="packet"), Said(reason="unknown", why="of a packet"), Outcome.NONE),
    ],
)
def test_each_outcome(one: Deed, said: Said, outcome: Outcome) -> None:
    assert judge(one, said).outcome is outcome


def test_what_has_no_name_is_what_it_is_inside_of() -> None:
    names = Names({"4711": "web", "a/ns:mnt7": "db"})
    assert resolve(["4712", "4711"], "a", names) == "web"
    assert resolve(["ns:mnt9", "ns:mnt8", "ns:mnt7"], "a", names) == "db"
    assert resolve(["ns:mnt7"], "b", names) == ""


Judge = Callable[[str, Facts], list[Judged]]


@pytest.fixture(scope="module")
def judge_by(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Has the trail attribute the real logs, seeing one design."""
    root = tmp_path_factory.mktemp("compare")

    def one(name: str, facts: Facts) -> list[Judged]:
        for host in HOSTS:
            path = root / name / host / "audit.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(strip((DATA / host / "audit.log").read_bytes(), DESIGNS[name]))
        place = root / name
        return judge_log(DESIGNS[name], facts, place, logs_of(name), Workspace(root / "state"))

    return one


@pytest.mark.tools
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("name", DESIGNS)
def test_every_case_of_a_real_run(judge_by: Judge, name: str) -> None:
    facts = facts_of()
    seen = {one.deed.case: one.outcome for one in judge_by(name, facts)}
    assert {case: end for case, end in seen.items() if end is not Outcome.RIGHT} == NOT_RIGHT[name]
    assert len(seen) >= 20


@pytest.mark.tools
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("name", DESIGNS)
def test_no_case_is_right_about_another_truth(judge_by: Judge, name: str) -> None:
    facts = facts_of()
    # A container that was there, and never where anything was done in these cases.
    facts.deeds = [
        replace(one, truth=("listener",) if "listener" not in one.truth else ("plain-2",))
        for one in facts.deeds
    ]
    assert [one.deed.case for one in judge_by(name, facts) if one.outcome is Outcome.RIGHT] == []


def judge_together(
    facts: Facts, folder: Path, logs: Mapping[str, Mapping[str, Log]], workspace: Workspace
) -> list[Judged]:
    """Has the trail attribute the whole logs in ``folder/HOST``, with what orchestrators know."""
    known = [names_for(design, facts, logs[name]).known for name, design in DESIGNS.items()]
    names = Names({space: name for one in known for space, name in one.items()})
    found = find_sources([str(folder / host) for host in HOSTS])
    said = read_trail(Model(read_logs(found, workspace)), names)
    return [
        judge(deed, said[deed.host, logs["nsid"][deed.host].serial(deed.by, deed.key)])
        for deed in facts.deeds
    ]


@pytest.mark.tools
@pytest.mark.xdist_group("engine")
def test_both_designs_together_know_more_than_each(tmp_path: Path) -> None:
    logs = {name: logs_of(name) for name in DESIGNS}
    judged = judge_together(facts_of(), DATA, logs, Workspace(tmp_path))
    seen = {one.deed.case: one.outcome for one in judged}
    assert {case: end for case, end in seen.items() if end is not Outcome.RIGHT} == NOT_TOGETHER
    words = {one.words for one in judged if one.deed.case in NOT_TOGETHER}
    assert words == {"a container that nobody named"}


# -- what is counted -------------------------------------------------------------------


def test_bytes_are_those_of_the_log() -> None:
    facts = facts_of()
    contid = size.measure(CONTID, facts, logs_of("contid"))
    nsid = size.measure(NSID, facts, logs_of("nsid"))
    line = "type=UNKNOWN[1340] msg=audit(1795627676.234:123): record=1 contid=4101\n record=1"
    assert len(line) - 2 <= contid.event <= len(line)
    assert 150 < nsid.event < 250
    # Five namespaces, each with a birth and an end.
    assert nsid.life > 10 * 100
    assert size.Size(event=2.0, life=5).day(1, 1) == 2 * 86_400 + 24 * 5


PATCH = """\
diff --git a/kernel/fork.c b/kernel/fork.c
--- a/kernel/fork.c
+++ b/kernel/fork.c
@@ -10,5 +10,9 @@ static struct task_struct *copy_process(struct pid *pid)
 \tint a;
+\t/* a comment
+\t * of two lines */
+\tspin_lock(&our_lock);
 \tint b;
-\tint c;
+\tint d;
 \tint e;
+
 }
diff --git a/kernel/new.c b/kernel/new.c
new file mode 100644
--- /dev/null
+++ b/kernel/new.c
@@ -0,0 +1,5 @@
+// a comment
+static DEFINE_SPINLOCK(our_lock);
+static void one(void)
+{
+}
diff --git a/kernel/new_test.c b/kernel/new_test.c
new file mode 100644
--- /dev/null
+++ b/kernel/new_test.c
@@ -0,0 +1 @@
+int test;
"""
NEXT = """\
diff --git a/kernel/new.c b/kernel/new.c
--- a/kernel/new.c
+++ b/kernel/new.c
@@ -3,3 +3,4 @@ static DEFINE_SPINLOCK(our_lock);
-static void one(void)
+static int one(void)
 {
+\treturn 0;
 }
"""


def test_code_is_counted_in_patches(tmp_path: Path) -> None:
    for name, text in (("1.patch", PATCH), ("2.patch", NEXT)):
        (tmp_path / name).write_text(text)
    found = code.measure(sorted(tmp_path.iterdir()))
    # Two in fork.c; in new.c a lock, a function of three lines, and what the second one returns.
    assert (found.added, found.removed) == (2 + 5, 1)
    assert found.files == {"kernel/fork.c": ["copy_process"]}
    assert found.locks == {"spin_lock(our_lock)": 1}
    assert found.new_locks == ["our_lock"]
    assert found.hot == ["fork"]


def patches_of(name: str) -> tuple[Path, ...]:
    return series.load(PROJECT / "kernel-patches").series[name].patches["6.12"]


def test_the_series_are_counted() -> None:
    for name in DESIGNS:
        found = code.measure(patches_of(name))
        assert found.added > 100
        assert "kernel/audit.c" in found.files
        assert all(re.fullmatch(r"[a-z_]\w*", one) for ones in found.files.values() for one in ones)


def code_section(text: str) -> str:
    """What a report says of kernel code; the numbers of the files aside, which others have, too."""
    section = text.partition("## Kernel code\n")[2].partition("\n## ")[0]
    return re.sub(r"\[\d+\]", "[]", section)


def test_the_comparison_that_is_kept_counts_the_series_of_today() -> None:
    designs = list(DESIGNS.values())
    codes = {one.name: code.measure(patches_of(one.name)) for one in designs}
    today = replace(found((Outcome.RIGHT,) * 2), measures=list(measures.of_code(designs, codes)))
    seen = code_section(report.render_markdown(today, "nsaudit compare"))
    assert "lines added" in seen
    assert code_section(KEPT.read_text()) == seen, "nsaudit compare contid nsid writes it anew"


# -- who wins ----------------------------------------------------------------------------


def measure(contid: float, nsid: float, **more: object) -> Measure:
    one = Measure(
        group="size", name="n", unit="B", values={"contid": contid, "nsid": nsid}, sources=("f",)
    )
    return replace(one, **more)  # type: ignore[arg-type]


def test_who_wins_is_worked_out() -> None:
    assert measure(1, 2).winner == "contid"
    assert measure(2, 1).winner == "nsid"
    assert measure(1, 2, less=False).winner == "nsid"
    assert measure(2, 2).winner == ""
    assert measure(1000, 1001, noise=0.002).winner == ""
    assert measure(1000, 1003, noise=0.002).winner == "contid"


def found(*outcomes: tuple[Outcome, Outcome], sizes: tuple[float, float] = (1, 2)) -> Comparison:
    judged = {
        name: [
            Judged(
                deed=replace(deed("x"), case=f"case {number}"),
                outcome=pair[at],
                words="" if pair[at] is Outcome.RIGHT else f"<{pair[at].name}>",
            )
            for number, pair in enumerate(outcomes, 1)
        ]
        for at, name in enumerate(DESIGNS)
    }
    return Comparison(
        run="20261125T000000Z-abcdef",
        started="2026-11-25T00:00:00Z",
        about={"machine": "2 cores, emulated"},
        designs={one.name: one.title for one in DESIGNS.values()},
        cases=result.tally(judged),
        measures=[measure(*sizes)],
        reused=("mnt",),
    )


def test_sentences_follow_the_figures() -> None:
    right, wrong, none = Outcome.RIGHT, Outcome.WRONG, Outcome.NONE
    one = found((right, wrong), (right, right), (none, right), (wrong, none))
    text = "\n".join(report.conclusions(one))
    assert "contid attributes 2 rightly, 1 wrongly and 1 not at all" in text
    assert "nsid attributes 2 rightly, 1 wrongly and 1 not at all" in text
    assert "Only contid has rightly: case 1." in text
    assert "Only nsid has rightly: case 3." in text
    assert "Neither has rightly: case 4 (contid wrongly, nsid not at all)." in text
    assert "Both have rightly: case 2." in text
    assert "Size: contid is better in n (1 B to 2 B)." in text
    assert report.overall(one) == "By the figures below contid wins on size."
    # And with the figures the other way round they say the opposite.
    other = found((wrong, right), (right, right), sizes=(2, 1))
    text = "\n".join(report.conclusions(other))
    assert "Only nsid has rightly: case 1." in text
    assert "There is no case that only contid has rightly." in text
    assert "Size: nsid is better in n (1 B to 2 B)." in text
    assert report.overall(other) == "By the figures below nsid wins on size."
    even = found((right, right), sizes=(1, 1))
    assert report.overall(even) == "By the figures below neither wins on size."
    assert "Size: No difference in n." in report.conclusions(even)


def test_markdown_fits_a_mail_and_names_its_sources() -> None:
    text = report.render_markdown(found((Outcome.RIGHT, Outcome.WRONG)), "nsaudit compare")
    assert max(map(len, text.splitlines())) <= report.WIDTH
    assert re.search(r"^ +n +1 B +2 B +contid +\[1\]$", text, re.MULTILINE)
    assert re.search(r"^ +\[1\] f$", text, re.MULTILINE)
    assert "nsid said: <WRONG>" in text
    assert "20261125T000000Z-abcdef" in text
    assert "In the cases of a migration nothing is checkpointed" in text
    # What is kept says what a report says today.
    same = text.partition("## Who did it\n")[2].partition("    case ")[0]
    assert same in KEPT.read_text()


def test_the_page_links_to_the_run_and_escapes_what_was_said() -> None:
    page = report.render_html(
        found((Outcome.RIGHT, Outcome.WRONG)), "nsaudit compare", lambda name: f"run/{name}"
    )
    assert '<a href="run/f">f</a>' in page
    assert "said: &lt;WRONG&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert '<td class="figure won"><b>1 B</b>' in page


def test_cells_say_how_many() -> None:
    assert report.cell(Tally(right=3, wrong=0, none=0)) == "3 right"
    assert report.cell(Tally(right=1, wrong=2, none=3)) == "1 right, 2 wrong, 3 not"
    assert report.tone(Tally(right=1, wrong=0, none=1)) == "none"


def test_what_orchestrators_do_is_counted() -> None:
    facts = facts_of()
    logs = {name: logs_of(name) for name in DESIGNS}
    work = {one.name: one for one in measures.of_work(list(DESIGNS.values()), facts, logs)}
    assert work["operations at the start of a container"].values == {"contid": 1, "nsid": 8}
    assert work["operations at an exec into it"].values == {"contid": 1, "nsid": 0}
    assert work["entries that have to be added to follow it"].values == {"contid": 0, "nsid": 5}


def make_run(folder: Path) -> None:
    """A run that is kept: real logs, figures of no guest, and the code of today's series."""
    for host in HOSTS:
        shutil.copytree(DATA / host, folder / host)
    kinds = ("plain", CONTID.kind, NSID.kind)
    keys = [(kind, state, thing) for kind in kinds for state in STATES for thing in THINGS]
    seen = Seen(series=(), times=dict.fromkeys(keys, 1.0), records={}, task_bytes=3072)
    stacks = [f"{name}-6.12" for name in ("vanilla", *DESIGNS)]
    measures.write_cost(folder / measures.COST, {name: [seen] for name in stacks})
    codes = {name: asdict(code.measure(patches_of(name))) for name in DESIGNS}
    (folder / measures.CODE).write_text(json.dumps(codes))
    about = {"started": "2026-11-25T00:00:00Z", "base": "6.12", "about": {"machine": "2 cores"}}
    (folder / kept.ABOUT).write_text(json.dumps(about))


@pytest.mark.tools
@pytest.mark.xdist_group("engine")
def test_each_figure_cites_every_file_that_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSAUDIT_STATE", str(tmp_path / "state"))
    folder = tmp_path / "run"
    make_run(folder)
    assert cli._main(["compare", *DESIGNS, "--run", str(folder)]) == 0
    cited = {
        (one["group"], one["name"].partition(",")[0]): set(one["sources"])
        for one in json.loads((folder / kept.RESULT).read_text())["measures"]
    }
    truth = {f"{host}/truth.jsonl" for host in HOSTS}
    logs = {f"{name}/{host}/audit.log" for name in DESIGNS for host in HOSTS}
    first = {f"{name}/a/audit.log" for name in DESIGNS} | {"a/truth.jsonl"}
    for (group, name), files in cited.items():
        match group:
            case "attribution":
                assert files == logs | truth
            case "log size":
                assert files == first
            case "orchestrator" | "migration":
                assert files == (logs | truth if name.startswith("entries") else truth)
            case "guest instructions":
                assert files == {"cost.json"}
            case "kernel code":
                assert files == {"code.json"}
            case _:
                pytest.fail(f"another group of figures: {group}")
    page = (folder / kept.PAGE).read_text()
    links = re.findall(r'href="([^"#]+)"', page)
    assert set(links) >= logs | truth
    assert all((folder / link).exists() for link in links)
    markdown = (folder / "compare.md").read_text()
    assert max(map(len, markdown.splitlines())) <= report.WIDTH
