"""Batched flows on any array library; nothing is public here yet."""

__all__: list[str] = []
