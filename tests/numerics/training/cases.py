"""What the tests of training train: a layer, a sample, and the three sources of batches."""

from numerics import (
    AttentionLayer,
    FreshBatches,
    LayerSystem,
    LinearTask,
    Minibatches,
    sample_sequences,
)

TASK = LinearTask.from_eigenvalues([0.6, 0.4], 5, noise=0.1, rng=0)
LAYER = AttentionLayer(dimension=2, heads=2, rank=1, attention="softmax")
SAMPLE = sample_sequences(TASK, 40, rng=1)
START = LAYER.initial_weights(0.3, rng=2)
SYSTEM = LayerSystem.of(LAYER, SAMPLE)
SOURCES = {
    "full": SYSTEM,
    "minibatches": Minibatches(LAYER, SAMPLE, 7),
    "fresh": FreshBatches(LAYER, TASK, 16),
}
OPTIMISERS = ["gradient-descent", "momentum", "adam"]


def same_bits(a, b):
    for name in ("step", "time", "states", "loss"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.tests.keys() == b.tests.keys()
    assert all(a.tests[name].tobytes() == b.tests[name].tobytes() for name in a.tests)
    assert a.status == b.status
