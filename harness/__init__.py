"""nsaudit: builds kernels, boots them, and judges how audit behaves in containers."""

__version__ = "0.1.0"
