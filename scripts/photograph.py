"""Real tokens: patches of the photograph that comes with Matplotlib.

The mean of each patch is removed, as is usual for natural images: with it, one direction would
hold 95 % of the energy. What is left are edges: two strong gradients, weaker curvatures, and tails
far heavier than a Gaussian's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTOGRAPH = "grace_hopper.jpg"
GREY = (0.299, 0.587, 0.114)  # luma weights of ITU-R BT.601

DESCRIPTION = """\
Write patches of the photograph that Matplotlib ships as a matrix of tokens, one patch a row, for
`predict.py linear --tokens`. Each patch is centred, projected on the leading principal directions
of all patches, and scaled so that the eigenvalues of the second moment sum to 1.

"""

EPILOG = """\
examples:
  python scripts/photograph.py                 patches.npy, four directions of 4 × 4 patches
  python scripts/photograph.py eight.npy --size 8 --components 8
  python scripts/predict.py linear --tokens patches.npy --flow

exit status: 0 done; 2 misuse; 130 interrupted
"""


def photograph_patches(size: int = 4, components: int = 4, stride: int = 2) -> NDArray[np.float64]:
    """Return grey patches of the photograph as tokens in their principal directions.

    Parameters
    ----------
    size : int
        Side of a patch in pixels, ≥ 2.
    components : int
        D, the number of leading principal directions kept, at most size² − 1: centring a patch
        takes one direction away.
    stride : int
        Pixels from one patch to the next, ≥ 1; below `size` patches overlap.

    Returns
    -------
    (P, D)
        Mean zero, second moment diagonal with descending eigenvalues and trace 1. The sign of a
        direction makes its largest pixel positive.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    import numpy as np

    pixels = _grey_photograph()
    if not 2 <= size <= min(pixels.shape):
        raise ValueError(f"size must be from 2 to {min(pixels.shape)} pixels, got {size}")
    if not 1 <= components <= size**2 - 1:
        raise ValueError(
            f"components must be from 1 to size² − 1 = {size**2 - 1}, got {components}"
        )
    if stride < 1:
        raise ValueError(f"stride must be >= 1, got {stride}")
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size))
    patches = windows[::stride, ::stride].reshape(-1, size**2)
    if len(patches) <= size**2:
        raise ValueError(f"stride {stride} leaves {len(patches)} patches of {size**2} pixels")
    patches = patches - patches.mean(axis=1, keepdims=True)
    patches -= patches.mean(axis=0)
    directions = np.linalg.eigh(patches.T @ patches)[1][:, : -components - 1 : -1]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(components)])
    tokens = patches @ directions
    return np.asarray(tokens / np.sqrt((tokens**2).sum() / len(tokens)))


def kurtosis(tokens: NDArray[Any]) -> NDArray[Any]:
    """E[x⁴]/E[x²]² of each column; 3 for a Gaussian of mean zero."""
    return (tokens**4).mean(axis=0) / (tokens**2).mean(axis=0) ** 2


def _grey_photograph() -> NDArray[Any]:
    import numpy as np
    from matplotlib.cbook import get_sample_data
    from matplotlib.image import imread

    pixels = np.asarray(imread(get_sample_data(PHOTOGRAPH, asfileobj=False)), float) / 255
    return np.asarray(pixels @ np.array(GREY))


def make_parser() -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(prog="photograph.py", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("output", nargs="?", default="patches.npy", metavar="FILE.npy",
                        help="where to write the (P, D) matrix (default %(default)s)")  # fmt: skip
    add = parser.add_argument
    add("--size", type=console.integer(2), default=4, metavar="n",
        help="side of a patch in pixels (default %(default)s)")  # fmt: skip
    add("--components", type=console.integer(1), default=4, metavar="D",
        help="principal directions to keep, at most n² − 1 (default %(default)s)")  # fmt: skip
    add("--stride", type=console.integer(1), default=2, metavar="k",
        help="pixels from one patch to the next (default %(default)s)")  # fmt: skip
    return parser


def body(argv: list[str] | None) -> int:
    """Write the patches and describe them."""
    options = make_parser().parse_args(argv)
    path = console.check_writable(options.output, "FILE.npy", suffixes=(".npy",))
    import numpy as np

    from numerics.files import written_atomically

    chosen = f"--size {options.size} --components {options.components} --stride {options.stride}"
    with console.blame(chosen):
        tokens = photograph_patches(options.size, options.components, options.stride)
    with written_atomically(path) as temporary, open(temporary, "wb") as file:
        np.save(file, tokens, allow_pickle=False)
    print(f"{tokens.shape[0]} patches in {tokens.shape[1]} directions")
    print("eigenvalues  " + "  ".join(f"{x:7.4f}" for x in (tokens**2).mean(axis=0)))
    print("kurtosis     " + "  ".join(f"{x:7.2f}" for x in kurtosis(tokens)) + "  (Gaussian: 3)")
    console.wrote(path)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.run(body, argv, "photograph.py")


if __name__ == "__main__":
    sys.exit(main())
