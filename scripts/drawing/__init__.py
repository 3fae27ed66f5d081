"""What `figures.py` draws, by name. Nothing heavy is imported before a figure is asked for."""

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
    "softmax-fig1": ("spectral", "softmax heads: ω̄, μ, loss; flow and sampled layer ([S] Fig. 1)"),
    "softmax-fig3": ("reduced_head", "softmax heads: reduced flows and their phases ([S] Fig. 3)"),
    "softmax-fig4": ("baselines", "lower bound of H softmax heads against Bayes ([S] Fig. 4)"),
    "softmax-fig5": ("baselines", "softmax heads against ridge and Bayes ([S] Fig. 5)"),
    "leaving": ("spectral", "the limit of [S] is a saddle: when it is left, and what for"),
    "formula": ("finite_size", "[S]'s loss against the exact one, over L, d and at other lengths"),
    "regimes": (
        "finite_size",
        "exponential and condensed attention; the best ‖ω‖² at finite (d, L)",
    ),
    "ensemble": ("ensemble", "drop times over 1,000 seeds, measured and predicted"),
    "cover": ("cover", "one drop against a cascade, with every plateau and drop predicted"),
}


def load(name: str) -> Drawing:
    """The figure of a name in `CATALOGUE`."""
    module = import_module(f"drawing.{CATALOGUE[name][0]}")
    drawings: dict[str, Drawing] = module.DRAWINGS
    return drawings[name]


__all__ = ["CATALOGUE", "load"]
