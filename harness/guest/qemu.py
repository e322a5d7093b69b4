"""QEMU's command line for a guest. Pure: it starts nothing.

microvm needs its PIT and PIC to have a clock under TCG, and ``tsc_early_khz`` or one boot in
two hangs while the kernel calibrates its time-stamp counter against the PIT. It knows what it has
translated by the address of the code: with addresses that change, each process pays for all again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

PROGRAM = "qemu-system-x86_64"
MEMORY_MIB = 512
VCPUS = 2
# With -icount shift=0 every clock of the guest, its time-stamp counter too, goes on by a
# nanosecond with each instruction.
_ICOUNT_TSC_KHZ = 1_000_000
# With emulation, the plainest model that Debian's programs run on boots quickest.
CPU_MODELS: Mapping[str, str] = {"tcg": "qemu64", "kvm": "host"}
# Which card is the private network's; each host then gets an address of its own.
LAN_MAC = "02:00:00:00:00:00"
# QEMU may open what it is told to, and start and become nothing else.
CONFINED = (
    *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
)


class Bus(StrEnum):
    """What virtio devices are plugged into; the value ends the name of each."""

    MMIO = "device"
    PCI = "pci"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ram:
    """The file that holds a guest's memory, sparse and as large as that is.

    A guest that is to be saved writes into it (``private=False``). With ``private`` QEMU
    waits for a device state instead of booting, and what is written stays its own.
    """

    file: Path
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a guest is made of.

    ``tsc_khz`` is the host's rate, 0 where it is not known; ``arguments`` are words of the
    kernel's command line; ``forwards`` are TCP ports that the host reaches on 127.0.0.1.
    With ``lan`` there is a second network card, plugged into a private network of several guests.
    With ``icount``, which emulation alone can do, there is one processor, and time is the
    number of instructions that it ran, one a nanosecond; while it idles, time leaps to the
    next timer. ``ram`` is for guests that are saved or forked; the others' memory is anonymous.
    """

    accelerator: str
    cpu_model: str
    kernel: Path
    initrd: Path
    root: Path | None = None
    layers: Mapping[str, Path] = field(default_factory=dict)
    tsc_khz: int = 0
    arguments: tuple[str, ...] = ()
    forwards: tuple[int, ...] = (22,)
    memory_mib: int = MEMORY_MIB
    lan: bool = False
    icount: bool = False
    ram: Ram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """How QEMU gets at its ends of the streams: the fifth one is a machine's that has ``lan``.

    ``fd=N`` is a descriptor that it inherits, ``path=P`` a socket to which it connects, as the
    options of a socket chardev have it.
    """

    channel: str
    console: str
    serial: str
    qmp: str
    lan: str = ""


def streams(machine: Machine) -> tuple[str, ...]:
    """The names of the streams that a machine has."""
    return ("channel", "console", "serial", "qmp", *(["lan"] if machine.lan else []))


def kernel_arguments(machine: Machine) -> tuple[str, ...]:
    """The kernel's command line, as words.

    A crash must end QEMU at once: an oops panics, a panic reboots, and a reboot is the end
    (``-no-reboot``). Later words win over earlier ones.
    """
    words = ["console=ttyS0", "panic=-1", "oops=panic", "reboot=t", "mitigations=off"]
    tsc_khz = _ICOUNT_TSC_KHZ if machine.icount else machine.tsc_khz
    if machine.accelerator == "tcg":
        # QEMU translates code for the address at which it runs. At an address of its own for each
        # process, what a program and its libraries run is translated again every time.
        words.append("norandmaps")
        if tsc_khz:
            words.append(f"tsc_early_khz={tsc_khz}")
    return (*words, *machine.arguments)


def command(machine: Machine, sockets: Sockets) -> tuple[str, ...]:
    """The whole command line."""
    ram = machine.ram
    words: list[str] = [
        *(PROGRAM, "-M", "microvm,pit=on,pic=on,rtc=on" + (",memory-backend=ram" * bool(ram))),
        *_processors(machine),
        *("-cpu", machine.cpu_model),
        *("-m", str(machine.memory_mib)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *CONFINED,
        *("-chardev", f"socket,id=console,{sockets.console}", "-serial", "chardev:console"),
        *("-kernel", str(machine.kernel), "-initrd", str(machine.initrd)),
        *("-append", " ".join(kernel_arguments(machine))),
    ]
    if ram:
        words += ["-object", _memory(machine.memory_mib, ram)]
        words += ["-incoming", "defer"] if ram.private else []
    return (*words, *devices(machine, sockets, Bus.MMIO))


def _memory(size_mib: int, ram: Ram) -> str:
    share = "off" if ram.private else "on"
    return (
        f"memory-backend-file,id=ram,size={size_mib}M,share={share},mem-path={_escaped(ram.file)}"
    )


def _processors(machine: Machine) -> tuple[str, ...]:
    if machine.icount:
        # QEMU counts in a single thread only.
        return ("-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off")
    threads = ",thread=multi" if machine.accelerator == "tcg" else ""
    return ("-accel", machine.accelerator + threads, "-smp", str(VCPUS))


def devices(machine: Machine, sockets: Sockets, bus: Bus) -> tuple[str, ...]:
    """What a guest finds in any machine, but for the kernel's console.

    Disks are read-only, and the network cannot reach out.
    """
    words: list[str] = [
        *("-chardev", f"socket,id=qmp,{sockets.qmp}", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"socket,id=channel,{sockets.channel}"),
        *("-chardev", f"socket,id=serial,{sockets.serial}"),
        *("-device", f"virtio-serial-{bus}"),
        *("-device", "virtconsole,chardev=serial"),
        *("-device", "virtserialport,chardev=channel,name=nsaudit"),
        *("-device", f"virtio-rng-{bus}"),
        *("-netdev", "user,id=net,restrict=on,ipv6=off" + _forwards(machine)),
        *("-device", f"virtio-net-{bus},netdev=net"),
    ]
    if machine.lan:
        words += ["-netdev", f"stream,id=lan,server=off,{_address(sockets.lan)}"]
        words += ["-device", f"virtio-net-{bus},netdev=lan,mac={LAN_MAC}"]
    for name, file in _disks(machine).items():
        words += ["-drive", f"id={name},if=none,format=raw,readonly=on,file={_escaped(file)}"]
        # The agent knows a disk by its serial number: its letter depends on the machine.
        words += ["-device", f"virtio-blk-{bus},drive={name},serial={name}"]
    return tuple(words)


def _address(socket: str) -> str:
    """What a chardev calls ``fd=N`` or ``path=P``, as a network back end wants it."""
    kind, _, value = socket.partition("=")
    return f"addr.type=fd,addr.str={value}" if kind == "fd" else f"addr.type=unix,addr.path={value}"


def _disks(machine: Machine) -> Mapping[str, Path]:
    return {"root": machine.root, **machine.layers} if machine.root else {}


def _forwards(machine: Machine) -> str:
    """For each port of the guest one of the host's own choice, on loopback only."""
    return "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in machine.forwards)


def _escaped(path: Path) -> str:
    """A path inside an option: QEMU reads a doubled comma as one."""
    return str(path).replace(",", ",,")
