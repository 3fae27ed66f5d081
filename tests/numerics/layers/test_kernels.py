"""The kernels on their own: what a piece holds and how much, the buffers, and scores far out."""

import math

import numpy as np
import pytest

from numerics.layers.kernels import (
    Narrow,
    Wide,
    Workspace,
    far_sums,
    laid_out_bytes,
    piece_length,
    pieces,
    shifted_exp,
)
from numerics.layers.kernels_several import Several, several_length, several_pieces
from tests.numerics.support import assert_same

OUTPUTS = 2
# A layout and the D of the tokens (b, M, K) that take it.
LAYOUTS = {"narrow": (Narrow, 3), "wide": (Wide, 5), "several": (Several, 3)}
each_layout = pytest.mark.parametrize(("layout", "D"), LAYOUTS.values(), ids=LAYOUTS)


def data(layout, D, count=6, context=4, dtype=np.float64):
    """Tokens, target, a and B of order one for three heads."""
    generator = np.random.default_rng(0)
    several = layout is Several
    C = OUTPUTS if several else 1
    X = generator.standard_normal((count, context + 1, D + C)).astype(dtype)
    X[:, -1, D:] = 0
    y = generator.standard_normal((count, C) if several else count).astype(dtype)
    a = generator.standard_normal((3, C, D + C) if several else (3, D + C)).astype(dtype)
    return X, y, a, generator.standard_normal((3, D, D + C)).astype(dtype)


class Counting(Workspace):
    """Notes the bytes of every buffer that is asked for."""

    def __init__(self):
        super().__init__()
        self.nbytes = 0

    def array(self, name, shape, dtype):
        self.nbytes += math.prod(shape) * np.dtype(dtype).itemsize
        return super().array(name, shape, dtype)


def test_buffers_are_kept_by_name():
    work = Workspace()
    first = work.array("a", (2, 6), np.float64)
    assert first.shape == (2, 6)
    assert first.dtype == np.float64
    for shape in ((2, 6), (3, 4), (5,)):
        again = work.array("a", shape, np.float64)
        assert again.shape == shape
        assert np.shares_memory(first, again)
    assert not np.shares_memory(first, work.array("b", (2, 6), np.float64))
    assert work.array("a", (13,), np.float64).shape == (13,)
    single = work.array("a", (2, 6), np.float32)
    assert single.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_far_from_the_root_of_the_smallest_number_on(dtype):
    root = np.sqrt(np.finfo(dtype).tiny)
    near = np.array([1, 2 * root, 0.5 / root], dtype)
    far = np.array([root, 0.5 * root, 0, 1 / root, 1.5 / root, 4 / root, np.inf, np.nan], dtype)
    assert far_sums(near[None], 1).size == 0
    for found in (far_sums(near[None], 1), far_sums(far[None], 1)):
        assert found.dtype == np.intp
    for one in far:
        assert far_sums(np.array([[one]]), 1).tolist() == [0]
    # Sequences along either axis; one head's sum is enough.
    sums = np.ones((2, len(near) + len(far)), dtype)
    sums[0] = np.concatenate([near, far])
    expected = list(range(len(near), sums.shape[1]))
    assert far_sums(sums, 1).tolist() == far_sums(sums.T, 0).tolist() == expected


@pytest.mark.parametrize("axis", [1, 2])
def test_each_row_has_a_maximum_of_its_own(axis):
    scores = np.array([[[1e4, 9990.0], [0.0, -1.0]], [[-1e4, 3.0], [2.0, -1e4]]])
    weights = shifted_exp(scores, axis)
    assert (weights.max(axis=axis) == 1).all()
    expected = np.exp(scores - scores.max(axis=axis, keepdims=True))
    assert (weights == expected).all()


def predict(layout, X, y, a, B):
    return layout.of(X, y).predict(a, B, None, Workspace())


@each_layout
@pytest.mark.parametrize("size", [0.9, 30.0, 1e3, 1e8])
def test_a_softmax_does_not_see_shifts_of_either_sign(layout, D, size):
    """Every sequence and head has its own shift, through the entry 1 of tokens, that never varies.

    e^±30 is no further out than √tiny, e^±1000 and more overflows or vanishes.
    """
    X, y, a, B = data(layout, D)
    X[:, :, 1] = 1
    X[:, -1, 0] = [1, -1, 0.5, -0.7, 0, 1]
    square, by_a, by_B = layout.of(X, y).gradient(a, B, None, Workspace())
    shifted = B.copy()
    shifted[:, 0, 1] += size * np.array([1.0, -1.0, 0.6])
    moved = layout.of(X, y).gradient(a, shifted, None, Workspace())
    roundings = 500 * max(size, 1)  # digits of the scores, which the shift rounds away
    assert_same(moved[0], square, roundings)
    assert_same(moved[1], by_a, roundings)
    assert_same(moved[2], by_B, roundings)


@each_layout
def test_whether_scores_are_far_out_is_judged_by_their_weights_alone(layout, D):
    """Tokens and values of 1e180 hide no sums of weights of 1e-320, which have few digits."""
    X, y, a, B = data(layout, D)
    X[:, :, 0] = 1
    unseen = [1, *range(D, X.shape[2])]
    a[..., unseen] = B[..., unseen] = 0
    expected = predict(layout, X, y, a, B)
    B[:, 0, 0] -= 735  # e^-735 is below the smallest normal number
    roundings = 500 * 735
    assert_same(predict(layout, X, y, 1e180 * a, B), 1e180 * expected, roundings)
    X[:, :-1, unseen] *= 1e180
    assert_same(predict(layout, X, y, a, B), expected, roundings)


@each_layout
def test_a_piece_keeps_its_tokens_precision_and_length(layout, D):
    X, y = data(layout, D)[:2]
    cut = several_pieces if layout is Several else pieces
    found = list(cut(X.astype(np.float32), y, 4))
    assert [type(piece) for piece in found] == [layout, layout]
    assert [len(piece.target) for piece in found] == [4, 2]
    for piece in found:
        assert piece.tokens.dtype == piece.target.dtype == np.float32
        assert type(piece.context_length) is int
        assert piece.context_length == 4


@each_layout
@pytest.mark.parametrize("factor", [None, 0.25])
def test_single_weights_meet_double_tokens_in_double_precision(layout, D, factor):
    X, y, a, B = data(layout, D)
    a, B = a.astype(np.float32), B.astype(np.float32)
    piece = layout.of(X, y)
    square, *found = piece.gradient(a, B, factor, Workspace())
    expected = piece.gradient(a.astype(float), B.astype(float), factor, Workspace())
    assert_same(square, expected[0])
    for one, other in zip(found, expected[1:], strict=True):
        assert one.dtype == np.float64
        assert_same(one, other)


@pytest.mark.parametrize("D", range(1, 8))
def test_up_to_four_entries_the_products_are_laid_out(D):
    X, y, _, _ = data(Narrow, D)
    (piece,) = pieces(X, y, len(X))
    assert isinstance(piece, Narrow if D <= 4 else Wide)
    stored = [piece.tokens, piece.products] if D <= 4 else [piece.tokens]
    assert laid_out_bytes(X) == sum(array.nbytes for array in stored)
    assert type(laid_out_bytes(X)) is int


# How much a piece holds. Each of these is the largest that fits; softmax needs most arrays.


@pytest.mark.parametrize("heads", [1, 3, 20])
@pytest.mark.parametrize("D", [1, 2, 4])
def test_a_narrow_piece_fills_two_megabytes_or_a_small_product(D, heads):
    a, B = np.zeros((heads, D + 1)), np.zeros((heads, D, D + 1))

    def fits(length):
        X = np.zeros((length, 7, D + 1))
        piece, work = Narrow.of(X, X[:, 0, 0]), Counting()
        piece.predict(a, B, None, work)
        used = piece.tokens.nbytes + piece.products.nbytes + work.nbytes
        return used <= 2**21 and B.size * piece.products.shape[1] <= 10**6

    length = piece_length(one := np.zeros((1, 7, D + 1)), heads)
    assert length * one.nbytes < 2**21  # before anything is laid out
    assert fits(length)
    assert not fits(length + 1)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("D", [5, 9])
def test_a_wide_piece_fills_eight_megabytes(D, heads):
    a, B = np.zeros((heads, D + 1)), np.zeros((heads, D, D + 1))

    def numbers_with_tokens(length):
        X = np.zeros((length, 7, D + 1))
        work = Counting()
        Wide.of(X, X[:, 0, 0]).predict(a, B, None, work)
        without = 2 * (2 * heads * length * (D + 2))  # the rows and their sums over tokens
        return X.size + work.nbytes // 8 - without

    length = piece_length(one := np.zeros((1, 7, D + 1)), heads)
    assert length * one.size < 2**20
    assert numbers_with_tokens(length) <= 2**20 < numbers_with_tokens(length + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize(("context", "D"), [(2, 6), (9, 3)])
def test_a_piece_of_several_outputs_fills_two_megabytes(context, D, heads, dtype):
    K = D + OUTPUTS
    a, B = np.zeros((heads, OUTPUTS, K), dtype), np.zeros((heads, D, K), dtype)

    def used(length):
        X = np.zeros((length, context + 1, K), dtype)
        work = Counting()
        Several.of(X, X[:, 0, :OUTPUTS]).gradient(a, B, None, work)
        done = length * heads * (K + 1) * X.itemsize  # u, on the way back
        return X.nbytes + work.nbytes - done

    length = several_length(one := np.zeros((1, context + 1, K), dtype), heads)
    assert length * one.nbytes < 2**21
    assert used(length) <= 2**21 < used(length + 1)


@pytest.mark.parametrize(
    ("length_of", "K"), [(piece_length, 2), (piece_length, 6), (several_length, 3)]
)
def test_a_piece_holds_a_sequence_however_long(length_of, K):
    assert length_of(np.zeros((1, 200_000, K)), 1) == 1
