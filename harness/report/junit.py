"""JUnit XML in the dialect of pytest's ``xunit2``, written from the results of a run.

Owns the translation for CI systems, which know only passed, failed, error and skipped: a suite
for each scenario, a case for each arm. It is green exactly when the run is.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from harness.model import ArmResult, Outcome, RunResult, ScenarioResult
from harness.plain import one_line
from harness.report import evidence

CONSOLE_LINES = 100

# Nothing can be said of the kernel, or nothing but that the guest did not come to an end.
_ERRORS = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASH, Outcome.MISS)


def render(result: RunResult) -> str:
    """The run as one ``testsuites`` document."""
    root = ET.Element("testsuites", name="nsaudit")
    for one in result.scenarios:
        root.append(_suite(one, result))
    for name in ("tests", "errors", "failures", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{result.seconds:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(one: ScenarioResult, result: RunResult) -> ET.Element:
    suite = ET.Element("testsuite", name=_attribute(one.name))
    properties = ET.SubElement(suite, "properties")
    for name, value in (("verdict", one.verdict), ("accelerator", result.host.accelerator)):
        ET.SubElement(properties, "property", name=name, value=_attribute(value))
    suite.extend(_case(arm) for arm in one.arms)
    if not one.verdict.as_expected and all(arm.as_expected for arm in one.arms):
        # Nothing above is red, and yet the run is: an arm to compare with is missing.
        suite.append(_verdict_case(one))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for kind, tag in (("errors", "error"), ("failures", "failure"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{sum(arm.seconds for arm in one.arms):.3f}")
    suite.set("timestamp", result.started.removesuffix("Z"))
    return suite


def _case(arm: ArmResult) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=_attribute(arm.arm.scenario),
        name=_attribute(arm.arm.stack),
        time=f"{arm.seconds:.3f}",
    )
    if not arm.as_expected:
        said = f"{arm.outcome}, expected {arm.arm.expect}: {arm.signature}"
        if arm.outcome is Outcome.SKIP:
            tag, said = "skipped", arm.signature
        else:
            tag = "error" if arm.outcome in _ERRORS else "failure"
        mark = ET.SubElement(case, tag, type=arm.outcome.value, message=_attribute(said))
        mark.text = "\n".join(evidence.describe(arm))
    if console := evidence.read_console(arm, CONSOLE_LINES):
        ET.SubElement(case, "system-out").text = console
    return case


def _verdict_case(one: ScenarioResult) -> ET.Element:
    case = ET.Element("testcase", classname=_attribute(one.name), name="verdict", time="0.000")
    message = f"{one.verdict}, though each arm alone is as expected"
    ET.SubElement(case, "failure", type=one.verdict.value, message=message)
    return case


def _attribute(text: str) -> str:
    return one_line(text)
