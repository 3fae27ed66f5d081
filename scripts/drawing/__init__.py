"""The figures by name. Nothing heavy is imported before a figure is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drawing.base import Drawing

# Name: the module of this package that makes it, and what it shows.
CATALOGUE: dict[str, tuple[str, str]] = {
    "fig1": ("merged", "ATTN_M trains as a two-layer network on z ([L] Fig. 1)"),
    "fig3": ("modes", "ATTN_S of rank 1: losses, value weights and keys ([L] Fig. 3)"),
    "fig4": ("rank", "loss of ATTN_S at rank 1, 2, 4, 8 ([L] Fig. 4)"),
    "fig5": ("softmax", "softmax attention: one drop of ATTN_M, several of ATTN_S ([L] Fig. 5)"),
    "fig11": ("values", "value weights of ATTN_S at rank 1, 2, 4, 8 ([L] Fig. 11)"),
    "fig12": ("rank", "loss of ATTN_S at rank 1 to 8 ([L] Fig. 12)"),
    "white": ("merged", "ATTN_M on white tokens against its time course ([L] Eq. 10)"),
    "mixture": ("mixture", "one fixed task among random ones: in-context and in-weight loss"),
    "lengths": ("lengths", "contexts of varying length, attention with and without its 1/N"),
    "samples": ("samples", "whole layers trained on P sequences, and how far their blocks drift"),
    "cover": ("cover", "one drop against a cascade, with every plateau and drop predicted"),
}


def load(name: str) -> Drawing:
    """The figure of a name in `CATALOGUE`."""
    module = import_module(f"drawing.{CATALOGUE[name][0]}")
    drawings: dict[str, Drawing] = module.DRAWINGS
    return drawings[name]


__all__ = ["CATALOGUE", "load"]
