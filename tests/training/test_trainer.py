from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import Quadratic, plain_sgd, quadratic_trainer, same, small_arm
from torch import Tensor, nn

from omnifm.algorithms.bank_broadcast import use_bank
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.tensors import Tensors
from omnifm.data.subset import Batch, Subset
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.training.hooks import GradientHook, LocalTraining, Phase
from omnifm.training.model import Output
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import ExperimentError, NonFiniteLossError

WEIGHT = "network.weight"


def weight(trainer: Trainer) -> float:
    return trainer.model.state_dict()[WEIGHT].item()


class Recording(Quadratic):
    """Notes the targets of each training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[float]] = []

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        self.batches.append(batch["target"].tolist())
        return super().loss(prediction, batch)


def recorded(count: int, **settings: Any) -> list[list[float]]:
    trainer = quadratic_trainer("a", range(count), plain_sgd(**settings))
    trainer.task = task = Recording()
    fit = trainer.fit(1)
    assert fit.steps == len(task.batches)
    return task.batches


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, [4, 4]), (10, [4, 4, 2]), (9, [4, 5]), (5, [5]), (4, [4]), (2, [2]), (1, [1])]
)
def test_a_last_single_row_joins_the_batch_before(count: int, sizes: list[int]) -> None:
    batches = recorded(count, batch_size=4)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(target for batch in batches for target in batch) == list(range(count))


def test_an_only_image_of_one_feature_under_batch_normalisation_is_told() -> None:
    arm = small_arm("fedavg", classification={"norm": "batch"})
    runtime, client = arm.runtime, arm.runtime.clients["CT-1"]
    whole = client.train
    one = replace(client, train=Subset(whole._table, whole._patients, whole._rows[:1]))
    trainer = Trainer(runtime.model, runtime.task, one, runtime.training, runtime.personal, 0)
    trainer.load(runtime.initial)
    pool = torch.nn.AdaptiveAvgPool2d(1)
    runtime.model.network.backbone[0].register_forward_hook(lambda module, given, output: pool(output))
    words = (
        r"Client 'CT-1' has a single image, .* 1 x 1, .*use norm = 'group', a larger batch_size or a larger data\.size"
    )
    with pytest.raises(ExperimentError, match=words):
        trainer.fit(1)


def test_every_epoch_shuffles_anew() -> None:
    one, other = recorded(40, epochs=2)
    assert one != other
    assert sorted(one) == sorted(other) == list(range(40))


def test_nan_loss_names_client_round_and_batch() -> None:
    # The first step throws the weight to infinity, the second batch finds it there.
    trainer = quadratic_trainer("St. Mary", [1e10] * 4, plain_sgd(1e30, batch_size=2))
    with pytest.raises(NonFiniteLossError, match=r"'St\. Mary' is inf in round 7, batch 2\..*learning_rate"):
        trainer.fit(7)


def test_nan_in_the_data() -> None:
    with pytest.raises(NonFiniteLossError, match="'a' is nan in round 1, batch 1"):
        quadratic_trainer("a", [1.0, float("nan")]).fit(1)


def test_a_loss_that_is_not_finite_is_found_at_the_end_of_its_epoch() -> None:
    trainer = quadratic_trainer("a", [1e10] * 4, plain_sgd(1e30, batch_size=2, epochs=3))
    trainer.task = task = Recording()
    with pytest.raises(NonFiniteLossError, match="round 1, batch 2"):
        trainer.fit(1)
    assert len(task.batches) == 2


def test_batches_are_counted_over_the_epochs() -> None:
    # Each step moves the weight 100 times too far: the squared distance leaves float32 after ten.
    trainer = quadratic_trainer("a", [1.0] * 4, plain_sgd(100.0, batch_size=2, epochs=12, clip_norm=0.0))
    with pytest.raises(NonFiniteLossError, match=r"is inf in round 1, batch 11\."):
        trainer.fit(1)


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm"])
def test_same_seed_same_bits(algorithm: str) -> None:
    arm = small_arm(algorithm)

    def trained(name: str, round_number: int, seed: int) -> dict[str, Tensor]:
        torch.rand(3)  # what others draw must not matter
        runtime = arm.runtime
        client = runtime.clients["CT-1"]
        renamed = type(client)(name, client.group, client.train, client.validation, client.test)
        trainer = Trainer(runtime.model, runtime.task, renamed, runtime.training, runtime.personal, seed)
        trainer.load(runtime.initial)
        before = torch.get_rng_state()
        trainer.fit(round_number)
        assert torch.equal(torch.get_rng_state(), before)
        return trainer.tensors(shared=True)

    first = trained("CT-1", 1, 0)
    assert same(first, trained("CT-1", 1, 0))
    for other in (("CT-2", 1, 0), ("CT-1", 2, 0), ("CT-1", 1, 1)):
        assert not same(first, trained(*other))


class Dicing(Quadratic):
    """Draws from torch's global generator, as dropout does."""

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        return super().loss(prediction, batch) * torch.rand(())


def test_what_the_network_draws_depends_on_the_seed_alone() -> None:
    def trained(seed: int) -> float:
        trainer = quadratic_trainer("a", [2.0], seed=seed)
        trainer.task = Dicing()
        trainer.fit(1)
        return weight(trainer)

    one, again, other = trained(0), trained(0), trained(1)
    assert one == again
    assert one != other


def test_plain_step_by_hand() -> None:
    trainer = quadratic_trainer("a", [1.0, 3.0], plain_sgd(0.25))
    fit = trainer.fit(1)
    assert weight(trainer) == pytest.approx(0.25 * 2)
    assert (fit.samples, fit.steps) == (2, 1)
    assert fit.loss == pytest.approx((1 + 9) / 4)
    assert trainer.last_fit is fit


def test_momentum_and_weight_decay_by_hand() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, momentum=0.5, weight_decay=0.1, epochs=2))
    trainer.load({WEIGHT: torch.tensor([1.0])})
    trainer.fit(1)
    # Gradients w - 2 + 0.1 w: first -0.9, so 1.09; then -0.801, with momentum -1.251.
    assert weight(trainer) == pytest.approx(1.09 + 0.1251)


def test_momentum_starts_afresh_every_round() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, momentum=0.5))
    trainer.fit(1)
    trainer.fit(2)
    assert weight(trainer) == pytest.approx(0.2 + 0.18)


def test_first_step_of_adamw_by_hand() -> None:
    settings = plain_sgd(0.1, optimizer="adamw", weight_decay=0.5)
    trainer = quadratic_trainer("a", [9.0], settings)
    trainer.load({WEIGHT: torch.tensor([1.0])})
    trainer.fit(1)
    # The first step has the length of the rate, whatever the gradient; the decay is apart from it.
    assert weight(trainer) == pytest.approx(1 - 0.1 * 0.5 + 0.1)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (0.5, 0.5), (0.75, 0.1464466), (1.0, 0.0), (1.5, 0.0)])
def test_cosine_over_the_rounds(progress: float, share: float) -> None:
    trainer = quadratic_trainer("a", [1.0], plain_sgd(0.1, schedule="cosine"), progress=progress)
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(0.1 * share, abs=1e-7)


def test_constant_rate_does_not_fall() -> None:
    trainer = quadratic_trainer("a", [1.0], plain_sgd(0.1), progress=0.9)
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(0.1)


def test_gradients_are_clipped_to_their_norm() -> None:
    trainer = quadratic_trainer("a", [100.0], plain_sgd(0.1, clip_norm=2.0))
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(0.2, rel=1e-4)


def test_no_clipping_without_a_norm() -> None:
    trainer = quadratic_trainer("a", [100.0], plain_sgd(0.1, clip_norm=0.0))
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(10.0)


def test_a_gradient_hook_sees_weights_and_changes_gradients() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, epochs=2))
    trainer.load({WEIGHT: torch.tensor([1.0])})
    seen = []

    def hook(weights: Tensors, gradients: Tensors) -> None:
        seen.append((weights[WEIGHT].item(), gradients[WEIGHT].item()))
        gradients[WEIGHT].add_(3.0)

    trainer.fit(1, LocalTraining(gradient_hook=hook))
    # The gradients w - 2 become w + 1: from 1 to 0.8, and to 0.62.
    assert seen == [pytest.approx((1.0, -1.0)), pytest.approx((0.8, -1.2))]
    assert weight(trainer) == pytest.approx(0.62)


def added(amount: float) -> GradientHook:
    def hook(weights: Tensors, gradients: Tensors) -> None:
        gradients[WEIGHT].add_(amount)

    return hook


def test_the_gradient_of_the_loss_is_clipped_and_not_the_correction() -> None:
    trainer = quadratic_trainer("a", [50.0], plain_sgd(0.1, clip_norm=1.0))
    trainer.fit(1, LocalTraining(gradient_hook=added(7.0)))
    assert weight(trainer) == pytest.approx(-0.6, rel=1e-4)


def test_correction_gets_a_zero_gradient_where_the_loss_does_not_reach() -> None:
    trainer = quadratic_trainer("a", [2.0])
    trainer.model.network.unused = nn.Parameter(torch.ones(3))
    shapes = {name: parameter.shape for name, parameter in trainer.trainable.items()}

    def hook(weights: Tensors, gradients: Tensors) -> None:
        assert {n: w.shape for n, w in weights.items()} == {n: g.shape for n, g in gradients.items()} == shapes
        assert gradients["network.unused"].tolist() == [0.0, 0.0, 0.0]

    trainer.fit(1, LocalTraining(gradient_hook=hook))


def test_frozen_parameters_are_not_trainable() -> None:
    trainer = quadratic_trainer("a", [2.0])
    trainer.model.network.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    assert list(trainer.trainable) == [WEIGHT]
    trainer.fit(1, LocalTraining(gradient_hook=lambda weights, gradients: None))
    assert trainer.model.network.frozen.item() == 1


def test_shared_and_personal_tensors_split_the_pipeline() -> None:
    trainer = quadratic_trainer("a", [2.0], personal=frozenset({"network.head.bias"}))
    assert trainer.tensors(shared=True).keys() == {WEIGHT}
    assert trainer.tensors(shared=False).keys() == {"network.head.bias"}


def test_tensors_are_copies() -> None:
    trainer = quadratic_trainer("a", [2.0])
    before = trainer.tensors(shared=True)
    trainer.fit(1)
    assert before[WEIGHT].item() == 0
    assert weight(trainer) != 0


def test_later_sources_overwrite_earlier_ones() -> None:
    trainer = quadratic_trainer("a", [2.0])
    shared = {WEIGHT: torch.tensor([1.0]), "network.head.bias": torch.tensor([1.0])}
    trainer.load(shared, {"network.head.bias": torch.tensor([5.0])})
    assert trainer.tensors(shared=True)["network.head.bias"].item() == 5
    assert weight(trainer) == 1
    assert shared["network.head.bias"].item() == 1


def test_hooks_see_every_epoch_and_every_step_after_it_was_taken() -> None:
    trainer = quadratic_trainer("a", range(5), plain_sgd(0.1, batch_size=3, epochs=2))
    trainer.task = task = Recording()
    seen: list[Any] = []

    def note(output: Output, batch: Batch) -> None:
        seen.append((batch["target"].tolist(), output.prediction[0].item(), weight(trainer)))

    trainer.fit(1, LocalTraining(on_epoch=lambda: seen.append("epoch"), on_batch=note))
    assert [one == "epoch" for one in seen] == [True, False, False, True, False, False]
    steps = [one for one in seen if one != "epoch"]
    assert [targets for targets, _, _ in steps] == task.batches
    before = [0.0, *(after for _, _, after in steps)]
    assert [predicted for _, predicted, _ in steps] == before[:-1]


def test_added_hooks_stand_beside_those_of_the_recipe_while_the_block_lasts() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1))

    def add(amount: float) -> LocalTraining:
        return LocalTraining(
            gradient_hook=added(amount),
            extra_loss=lambda output, batch: 10 * amount * output.prediction.mean(),
        )

    with trainer.with_hooks(add(1.0)):
        trainer.fit(1, add(2.0))
    # The gradient w - 2 = -2 gains 10 + 20 by the losses, 1 + 2 by the hooks.
    assert weight(trainer) == pytest.approx(-0.1 * 31)
    trainer.load({WEIGHT: torch.zeros(1)})
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(0.2)


def test_modules_of_a_class_are_found_without_loading_weights() -> None:
    runtime = small_arm("omnifm").runtime
    trainer = Trainer(
        runtime.model,
        runtime.task,
        runtime.clients["CT-1"],
        runtime.training,
        runtime.personal,
        0,
        initial=runtime.initial,
    )
    with torch.no_grad():
        runtime.model.network.head.weight.fill_(7.0)
    assert trainer.modules(SpectralAdapter) == [runtime.model.adapter]
    assert trainer.modules(torch.nn.Bilinear) == []
    assert runtime.model.network.head.weight.unique().item() == 7.0


def test_alignment_is_trained_but_not_told_as_loss() -> None:
    fits, tokenizers = [], []
    for strength in (0.0, 5.0):
        arm = small_arm("omnifm", adapter={"alignment": strength}, training={"batch_size": 64})
        runtime = arm.runtime
        trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, 0)
        use_bank(trainer, torch.eye(8)[:5])
        fits.append(trainer.fit(1))
        tokenizers.append(trainer.tensors(shared=True)["adapter.tokenizer.norm.weight"])
    assert [fit.steps for fit in fits] == [1, 1]
    assert fits[0].loss == fits[1].loss
    assert not torch.equal(*tokenizers)


def stem_statistics(trainer: Trainer) -> Tensor:
    """Return, by hand, the mean over all training images of what the stem's normalisation is fed."""
    stem = trainer.model.network.backbone[0]
    return stem(trainer.client.train.column("image")).mean(dim=(0, 2, 3)).detach()


def test_statistics_are_measured_with_the_weights_of_the_end() -> None:
    arm = small_arm("fedavg", training={"epochs": 3})
    runtime = arm.runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, 0)
    trainer.load(runtime.initial)
    trainer.fit(1)
    found = trainer.tensors(shared=True)["network.backbone.1.running_mean"]
    # 24 images in three batches of eight: the mean of the means is the mean.
    torch.testing.assert_close(found, stem_statistics(trainer), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "personal", "untrained", "trained"),
    [
        ("batch", [], False, False),
        ("group", ["backbone"], False, False),
        # What comes before the statistics is shared: they never fit what was just received.
        ("batch-personal", [], True, True),
        # All of it stays at home, and so do the statistics, once there are any.
        ("batch", ["backbone"], True, False),
        ("batch-personal", ["backbone"], True, False),
        ("batch", ["everything"], True, False),
    ],
)
def test_whose_statistics_must_be_measured(norm: str, personal: list[str], untrained: bool, trained: bool) -> None:
    runtime = small_arm("fedavg", classification={"norm": norm}, federation={"personal": personal}).runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, 0)
    trainer.load(runtime.initial)
    assert trainer.lacks_statistics == untrained
    trainer.fit(1)
    assert trainer.lacks_statistics == trained


def test_evaluation_is_the_mean_over_all_images_of_uneven_batches() -> None:
    trainer = quadratic_trainer("a", [*[0.0] * 64, *[2.0] * 6])
    scores = trainer.evaluate("test")
    assert scores.numbers == pytest.approx({"closeness": -12 / 70, "loss": 6 * 2 / 70})


def test_evaluation_leaves_all_tensors_as_they_are() -> None:
    arm = small_arm("omnifm")
    runtime = arm.runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["MRI"], runtime.training, runtime.personal, 0)
    trainer.load(runtime.initial)
    trainer.evaluate("validation")
    assert same(trainer.tensors(shared=True) | trainer.tensors(shared=False), runtime.initial)


def test_no_gradients_are_kept_when_training_is_over() -> None:
    trainer = precise("float32")
    trainer.fit(1)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def precise(precision: str, seed: int = 0) -> Trainer:
    runtime = small_arm("omnifm", training={"precision": precision}).runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, seed)
    trainer.load(runtime.initial)
    use_bank(trainer, torch.eye(8)[:5])
    return trainer


def test_bf16_is_near_float32_and_keeps_what_is_learned_in_float32() -> None:
    trainers = precise("float32"), precise("bf16")
    rough = trainers[1].model
    gradients: set[torch.dtype] = set()
    for parameter in rough.parameters():
        parameter.register_post_accumulate_grad_hook(lambda learned: gradients.add(learned.grad.dtype))
    seen = TokenCollector()
    exact, near = (trainer.fit(1, seen.hooks) for trainer in trainers)
    assert seen.tokens.dtype == torch.float32
    assert near.loss != exact.loss
    assert near.loss == pytest.approx(exact.loss, rel=0.05)
    floats = [t for t in rough.state_dict().values() if t.is_floating_point()]
    assert {t.dtype for t in floats} == gradients
    assert {t.dtype for t in floats} == {torch.float32}


def test_bf16_judges_as_it_trains() -> None:
    exact, rough = precise("float32"), precise("bf16")
    rough.load(exact.tensors())
    one, other = exact.evaluate("test").numbers["loss"], rough.evaluate("test").numbers["loss"]
    assert one != other
    assert one == pytest.approx(other, rel=0.02)
    (_, output), *_ = rough.predict(rough.client.test)
    assert (output.prediction.dtype, output.features.dtype) == (torch.float32, torch.float32)


def test_keys_are_the_same_at_any_precision() -> None:
    seen = []
    for trainer in (precise("float32"), precise("bf16")):
        (_, output), *_ = trainer.predict(trainer.client.test)
        seen.append(output.adapter)
    assert torch.equal(seen[0].keys, seen[1].keys)
    assert torch.equal(seen[0].retrieved, seen[1].retrieved)
    assert not torch.equal(seen[0].tokens, seen[1].tokens.float())


def test_same_bits_in_bf16_too() -> None:
    one, again, other = precise("bf16"), precise("bf16"), precise("bf16", seed=1)
    for trainer in (one, again, other):
        trainer.fit(1)
    assert same(one.tensors(), again.tensors())
    assert not same(one.tensors(), other.tensors())


def test_predictions_at_some_places() -> None:
    trainer = quadratic_trainer("a", range(80))
    batches = [batch["target"].tolist() for batch, _ in trainer.predict(trainer.client.test, torch.tensor([70, 3]))]
    assert batches == [[70, 3]]
    assert [len(output.prediction) for _, output in trainer.predict(trainer.client.test)] == [64, 16]


@pytest.mark.parametrize(("schedule", "rate"), [("constant", 0.1), ("cosine", 0.05)])
def test_the_learning_rate_of_the_round_can_be_asked(schedule: str, rate: float) -> None:
    trainer = quadratic_trainer("a", [1.0], plain_sgd(0.1, schedule=schedule), progress=0.5)
    assert trainer.learning_rate == pytest.approx(rate)
    trainer.fit(1)
    assert weight(trainer) == pytest.approx(rate)


def test_a_term_adds_to_the_loss_and_is_not_told() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, epochs=2))
    trainer.load({WEIGHT: torch.tensor([1.0])})
    fit = trainer.fit(1, LocalTraining(extra_loss=lambda output, batch: 3 * output.prediction.mean()))
    # The gradients w - 2 become w + 1: from 1 to 0.8, and to 0.62. The loss of the last epoch is 0.5 (0.8 - 2)^2.
    assert weight(trainer) == pytest.approx(0.62)
    assert fit.loss == pytest.approx(0.72)


def test_a_term_sees_the_output_and_the_batch_of_each_step() -> None:
    trainer = quadratic_trainer("a", range(5), plain_sgd(0.1, batch_size=3))
    trainer.task = task = Recording()
    seen: list[tuple[list[float], list[float], torch.Size]] = []

    def note(output: Output, batch: Batch) -> Tensor:
        seen.append((batch["target"].tolist(), output.prediction.tolist(), output.features.shape))
        return torch.zeros(())

    trainer.fit(1, LocalTraining(extra_loss=note))
    assert [targets for targets, _, _ in seen] == task.batches
    assert [shape for _, _, shape in seen] == [(3, 4, 1), (2, 4, 1)]
    assert seen[0][1] == [0.0] * 3
    assert seen[1][1] == pytest.approx([0.1 * sum(task.batches[0]) / 3] * 2)


def test_a_term_is_clipped_with_the_loss_and_watched_like_it() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, clip_norm=1.0))
    trainer.fit(1, LocalTraining(extra_loss=lambda output, batch: -50 * output.prediction.mean()))
    assert weight(trainer) == pytest.approx(0.1, rel=1e-4)
    with pytest.raises(NonFiniteLossError, match="'a' is nan in round 4, batch 1"):
        trainer.fit(4, LocalTraining(extra_loss=lambda output, batch: torch.tensor(float("nan"))))


def two_weights(**settings: Any) -> Trainer:
    """Return a trainer whose network has a second weight, which no loss reaches."""
    trainer = quadratic_trainer("a", [2.0], plain_sgd(**settings))
    trainer.model.network.other = nn.Parameter(torch.ones(1))
    return trainer


OTHER = "network.other"


def test_phases_replace_the_epochs() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.5, epochs=7))
    fit = trainer.fit(1, LocalTraining(phases=(Phase(2), Phase(1))))
    # Each step halves the way to 2; the loss is that of the last epoch of the last phase, at 1.5.
    assert fit.steps == 3
    assert weight(trainer) == pytest.approx(2 - 2 / 8)
    assert fit.loss == pytest.approx(0.125)


def test_one_phase_of_all_is_no_phase_at_all() -> None:
    ends = []
    for local_training in (None, LocalTraining(), LocalTraining(phases=(Phase(3),))):
        runtime = small_arm("fedavg", training={"epochs": 3}).runtime
        trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-2"], runtime.training, runtime.personal, 0)
        ends.append((trainer.fit(1, local_training).loss, trainer.tensors()))
    for loss, tensors in ends[1:]:
        assert loss == ends[0][0]
        assert same(tensors, ends[0][1])


def test_each_phase_has_an_optimiser_of_its_own() -> None:
    trainer = quadratic_trainer("a", [2.0], plain_sgd(0.1, momentum=0.5))
    trainer.fit(1, LocalTraining(phases=(Phase(1), Phase(1))))
    # 0.1 * 2, then 0.1 * 1.8 (with the momentum of the first step it would be 0.28).
    assert weight(trainer) == pytest.approx(0.2 + 0.18)


def test_a_phase_moves_its_own_names_alone() -> None:
    trainer = two_weights(rate=0.1, momentum=0.9, weight_decay=0.5)
    seen: list[tuple[float, float]] = []

    def note(output: Output, batch: Batch) -> Tensor:
        state = trainer.model.state_dict()
        seen.append((state[WEIGHT].item(), state[OTHER].item()))
        return state[OTHER].square().sum() + trainer.model.network.other.square().sum() / 2

    trainer.load({WEIGHT: torch.tensor([1.0])})
    phases = (Phase(2, frozenset({OTHER})), Phase(1, frozenset({WEIGHT})))
    trainer.fit(1, LocalTraining(extra_loss=note, phases=phases))
    # The other's gradient is o + 0.5 o: from 1 to 0.85; then 1.275 + 0.9 * 1.5 = 2.625: 0.5875.
    # The weight's is w - 2 + 0.5 w = -0.5: 1.05.
    assert seen == [pytest.approx(pair) for pair in ((1.0, 1.0), (1.0, 0.85), (1.0, 0.5875))]
    assert seen[2][0] == 1
    assert weight(trainer) == pytest.approx(1.05)
    assert trainer.model.state_dict()[OTHER].item() == seen[2][1]


def test_a_phase_clips_its_own_gradients_alone() -> None:
    trainer = two_weights(rate=0.1, clip_norm=1.0)
    phases = (Phase(1, frozenset({WEIGHT})),)
    trainer.fit(1, LocalTraining(extra_loss=lambda *_: 100 * trainer.model.network.other.sum(), phases=phases))
    # The weight's gradient, -2, is clipped to 1; that of the other would have left nothing of it.
    assert weight(trainer) == pytest.approx(0.1, rel=1e-4)


def test_a_correction_sees_the_names_of_the_phase_alone() -> None:
    trainer = two_weights(weight_decay=0.1)
    seen: list[set[str]] = []

    def note(weights: Tensors, gradients: Tensors) -> None:
        assert weights.keys() == gradients.keys()
        seen.append(set(weights))

    phases = (Phase(1, frozenset({OTHER})), Phase(1))
    trainer.fit(1, LocalTraining(note, lambda *_: trainer.model.network.other.sum(), phases))
    assert seen == [{OTHER}, {WEIGHT, OTHER}]


@pytest.mark.parametrize("fails", [False, True])
def test_after_the_phases_all_is_trainable_again_but_what_never_was(fails: bool) -> None:
    trainer = two_weights()
    trainer.model.network.fixed = nn.Parameter(torch.ones(1), requires_grad=False)
    local_training = LocalTraining(
        extra_loss=lambda *_: torch.tensor(float("inf") if fails else 0.0), phases=(Phase(1, frozenset({WEIGHT})),)
    )
    if fails:
        with pytest.raises(NonFiniteLossError):
            trainer.fit(1, local_training)
    else:
        trainer.fit(1, local_training)
    assert trainer.trainable.keys() == {WEIGHT, OTHER}


def test_a_frozen_copy_stays_as_it_was() -> None:
    runtime = small_arm("omnifm").runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, 0)
    use_bank(trainer, torch.eye(8)[:5])
    trainer.model.train()
    before = trainer.tensors()
    copy = trainer.frozen()
    assert not any(module.training for module in copy.modules())
    assert all(module.training for module in trainer.model.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(p.requires_grad for p in trainer.model.parameters())
    assert copy.adapter is not None
    assert torch.equal(copy.adapter.bank, torch.eye(8)[:5])
    trainer.fit(1)
    assert same(dict(copy.state_dict()), before)
    assert not same(trainer.tensors(), before)
    batch = trainer.client.train.batch(torch.arange(4))
    assert not copy(batch).prediction.requires_grad


def test_a_frozen_copy_has_what_no_gradient_moves_in_common_with_the_pipeline() -> None:
    runtime = small_arm("fedavg").runtime
    runtime.model.network.backbone.requires_grad_(False)
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-1"], runtime.training, runtime.personal, 0)
    copy = trainer.frozen()
    copied, own = dict(copy.named_parameters()), dict(trainer.model.named_parameters())
    assert copied.keys() == own.keys()
    assert {name for name in own if copied[name] is not own[name]} == trainer.trainable.keys()
    assert copied["network.head.weight"].data_ptr() != own["network.head.weight"].data_ptr()


def test_parameters_alone_are_placed() -> None:
    trainer = two_weights()
    trainer.model.network.fixed = nn.Parameter(torch.ones(1), requires_grad=False)
    given = {name: torch.full((1,), 7.0) for name in (WEIGHT, "network.head.bias", "network.fixed", "unknown")}
    placed = trainer.place(given)
    # The head's number is a buffer, the fixed one has no gradient.
    assert placed.keys() == {WEIGHT}
    assert placed[WEIGHT].device == next(trainer.model.parameters()).device
    assert weight(trainer) == 0


def test_both_kinds_of_tensors_are_all() -> None:
    trainer = quadratic_trainer("a", [2.0], personal=frozenset({"network.head.bias"}))
    assert trainer.tensors().keys() == {WEIGHT, "network.head.bias"}


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"clip_norm": -1}, {"momentum": 1}, {"weight_decay": -1}],
    ids=str,
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainingSettings(**wrong)
