"""Whole cascades of ATTN_S from H(1 + D) scalars; `numerics` exports what is public."""
