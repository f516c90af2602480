"""Federated averaging by hand, with the library's parts: what `omnifm run` does, in one loop.

    python examples/minimal.py

Three hospitals with MR images of the synthetic phantom learn to tell patients with a tumour from healthy
ones. Needs no download; takes less than a minute.
"""

from collections.abc import Iterator

import torch

from omnifm import (
    DataSettings,
    DataShape,
    FederatedModel,
    PartitionSettings,
    Trainer,
    TrainingSettings,
    Upload,
    WeightedMean,
    load_dataset,
)
from omnifm.core.tensors import Tensors, apply, difference
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.subset import ClientData
from omnifm.tasks.classification import Classification, ClassificationSettings

ROUNDS, SIZE, SEED = 5, 32, 0
phantom = PhantomSource(patients=150, modalities=("T2",), classes=("healthy", "glioma"))
dataset = load_dataset(DataSettings(size=SIZE, sources=(phantom,)), PartitionSettings(kind="iid", clients=3), SEED)
task = Classification(ClassificationSettings(width=8), DataShape(1, (SIZE, SIZE), dataset.label_names))
torch.manual_seed(SEED)
model = FederatedModel(task.network(), adapter=None)  # one network serves all clients, one after the other
settings = TrainingSettings(batch_size=8, learning_rate=0.02)


def trainer(client: ClientData) -> Trainer:
    """Return what trains and evaluates the network on a client's data; nothing is personal."""
    return Trainer(model, task, client, settings, personal=frozenset(), seed=SEED)


def uploads(shared: Tensors, number: int) -> Iterator[Upload]:
    """Let each client train from the shared weights; yield how far it has moved them."""
    for client in dataset.clients:
        local = trainer(client)
        local.load(shared)
        fit = local.fit(number)
        yield Upload(client.name, fit.samples, fit.loss, difference(local.views(), shared))


def main() -> None:
    """Run the rounds and print the accuracy of the shared model on each client's test images."""
    shared = trainer(dataset.clients[0]).tensors()
    for number in range(1, ROUNDS + 1):
        mean = WeightedMean().aggregate(uploads(shared, number), lambda upload: float(upload.samples))
        shared = apply(shared, mean.change)
        scores = {}
        for client in dataset.clients:
            received = trainer(client)
            received.load(shared)
            scores[client.name] = received.evaluate("test").numbers[task.main_metric]
        print(f"round {number}:", "  ".join(f"{name} {score:.2f}" for name, score in scores.items()), flush=True)


if __name__ == "__main__":
    main()
