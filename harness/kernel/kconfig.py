"""Kernel configurations as values: fragments, their sum, and what a kernel made of it.

A fragment is a file of ``CONFIG_X=value`` and ``# CONFIG_X is not set`` lines, sorted within
paragraphs; one that ends in ``.j2`` is a Jinja template. ``configs.toml`` names the
configurations and lists their fragments; ``absent`` there lists, for each base, the options
that this base does not have, and ``optional`` those that come with a series.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.errors import ConfigError, UsageError
from harness.kernel.tables import read_toml
from harness.workspace import digest

_SET = re.compile(r"(CONFIG_\w+)=(.+)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")
_PROSE = re.compile(r"#(?: .*)?")


@dataclass(frozen=True, slots=True)
class Kconfig:
    """Options with their values as ``.config`` writes them; ``n`` for a wanted absence.

    Those that are ``optional`` are asked for, and may be missing.
    """

    options: Mapping[str, str]
    origins: Mapping[str, str]
    optional: frozenset[str] = frozenset()

    def render(self) -> str:
        """The text of a fragment that says the same, sorted."""
        return "".join(
            f"# {name} is not set\n" if value == "n" else f"{name}={value}\n"
            for name, value in sorted(self.options.items())
        )

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is asked for."""
        return digest(self.render())

    def merged(self, other: Kconfig) -> Kconfig:
        """Both together. Raises ConfigError when they disagree about an option."""
        for name in sorted(self.options.keys() & other.options.keys()):
            if self.options[name] != other.options[name]:
                raise ConfigError(
                    f"{name} is {self.options[name]} in {self.origins[name]}"
                    f" and {other.options[name]} in {other.origins[name]}",
                    hint="fragments of one configuration must agree: take the line out of one",
                )
        return Kconfig(
            {**self.options, **other.options},
            {**self.origins, **other.origins},
            self.optional | other.optional,
        )

    def without(self, names: frozenset[str]) -> Kconfig:
        """The same less some options."""
        return Kconfig(
            {name: value for name, value in self.options.items() if name not in names},
            self.origins,
            self.optional,
        )

    def find_broken(self, actual: Kconfig) -> dict[str, str]:
        """What is asked for and not in ``actual``: option to the value that is there."""
        return {
            name: actual.options.get(name, "n")
            for name, value in sorted(self.options.items())
            if actual.options.get(name, "n") != value
            and not (name in self.optional and name not in actual.options)
        }


def is_built_in(config: Path, option: str) -> bool:
    """Whether a kernel's ``.config``, if it is there, has an option as ``y``."""
    return config.is_file() and f"{option}=y\n" in config.read_text()


def parse_kconfig(text: str, origin: str) -> Kconfig:
    """A fragment or a whole ``.config``. Raises ConfigError for any other line."""
    options: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SET.fullmatch(line):
            name, value = found[1], found[2]
        elif found := _UNSET.fullmatch(line):
            name, value = found[1], "n"
        elif not line.strip() or _PROSE.fullmatch(line):
            continue
        else:
            raise ConfigError(f"{origin}, line {number}: {line!r} is no option and no comment")
        if options.get(name, value) != value:
            raise ConfigError(f"{origin}, line {number}: {name} stands there twice")
        options[name] = value
    return Kconfig(options, dict.fromkeys(options, origin))


def unpack_ikconfig(raw: bytes, origin: str) -> Kconfig:
    """What ``/proc/config.gz`` says (CONFIG_IKCONFIG_PROC)."""
    try:
        return parse_kconfig(gzip.decompress(raw).decode(), origin)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{origin}: /proc/config.gz cannot be read: {error}") from error


def require_name(folder: Path, name: str) -> None:
    """Raises UsageError unless ``configs.toml`` has a configuration of that name."""
    configs = read_toml(folder / "configs.toml").get("configs", {})
    if name not in configs:
        raise UsageError(
            f"there is no configuration {name!r}", hint=f"known: {', '.join(sorted(configs))}"
        )


def load(folder: Path, name: str, base: str, values: Mapping[str, object]) -> Kconfig:
    """The named configuration for a base, templates rendered with ``values``."""
    require_name(folder, name)
    table = read_toml(folder / "configs.toml")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    total = Kconfig({}, {})
    for fragment in table["configs"][name]:
        path = _find_fragment(folder, fragment)
        try:
            text = path.read_text()
            if path.suffix == ".j2":
                text = environment.from_string(text).render(values)
        except jinja2.TemplateError as error:
            raise ConfigError(
                f"{path.name}: {error}", hint=f"known: {', '.join(values)}"
            ) from error
        total = total.merged(parse_kconfig(text, path.name))
    absent = table.get("absent", {}).get(base, [])
    optional = frozenset(f"CONFIG_{one}" for one in table.get("optional", []))
    total = dataclasses.replace(total, optional=optional & total.options.keys())
    return total.without(frozenset(f"CONFIG_{one}" for one in absent))


def _find_fragment(folder: Path, name: str) -> Path:
    for suffix in (".config", ".config.j2"):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise ConfigError(f"configs.toml names a fragment {name!r} that is not in {folder}")


def explain_broken(
    wanted: Kconfig, broken: Mapping[str, str], declared: frozenset[str]
) -> ConfigError:
    """An error for options that did not come out as asked.

    ``declared`` holds the names that the kernel's Kconfig files know, so that an option that
    does not exist there is told apart from one whose dependencies are not met.
    """
    lines = [
        f"{name}={wanted.options[name]} ({wanted.origins[name]}): "
        + (f"the kernel made it {value}" if name in declared else "this kernel has no such option")
        for name, value in broken.items()
    ]
    unknown = [name for name in broken if name not in declared]
    hint = (
        "list what a base lacks under [absent] in kconfigs/configs.toml"
        if unknown
        else "a dependency is not met: look it up with `make menuconfig`, then /"
    )
    return ConfigError("the kernel does not honour " + "\n  ".join(["", *lines]).strip(), hint=hint)
