"""What people see while something is being done."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn


class Screen:
    """Progress on standard error: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Progress(
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._live.add_task("", visible=False)
        self._told = 0.0

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def step(self, text: str) -> None:
        """Something new is being done."""
        if self.console.is_terminal:
            self._live.reset(self._task, description=text[:78], visible=True)
        else:
            self.console.print(text, highlight=False, markup=False)

    def tell(self, text: str) -> None:
        """Something is known; it stays on the screen."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def build(self, stack: str, done: int, expected: int, seconds: float) -> None:
        """A build went on; ``expected`` 0 means that nobody knows."""
        total = f" of {expected}" if expected >= done else ""
        text = f"building {stack}: {done}{total} objects"
        if self.console.is_terminal:
            self._live.update(self._task, description=text, visible=True)
        elif seconds - self._told >= 30 or seconds < self._told:
            self._told = seconds
            self.console.print(f"{text}, {seconds:.0f} s", highlight=False)

    def quiet(self) -> None:
        """Nothing is being done any more."""
        self._live.update(self._task, visible=False)
