"""``omnifm privacy show``: what leaves a hospital in an experiment, as a page for its data officer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from omnifm.algorithms.kinds import Kind
from omnifm.checkpoint.kept_weights import SCRATCH
from omnifm.config.experiment import Experiment, Plan
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.deploy.guarantee import guarantee
from omnifm.deploy.privacy_words import (
    ANSWERING,
    CONNECTION,
    JOINING,
    NEVER,
    POLICY,
    PRIVATE,
    PRIVATE_TENSORS,
    SCORING,
    SUMMED,
    SUMS,
    TENSORS,
)
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.config_exchange import load_client_data
from omnifm.engines.flower.deploy_settings import deploy_settings
from omnifm.engines.flower.disclosure import Disclosure, at_hospital, disclose, refusals
from omnifm.engines.flower.expected_upload import ImaginedData, size_and_spec
from omnifm.engines.flower.messages import Reply
from omnifm.engines.flower.policy import LEAVES_AS, exact_prototypes, prototype_sets
from omnifm.federation.loop import sampled
from omnifm.runs.arm import describe_data
from omnifm.utils.errors import OmniFMError

_WIDTH = 110


def privacy_page(
    plan: Plan, imagined: ImaginedData, config: ClientConfig | None = None, load: bool = False
) -> Iterator[str]:
    """Yield the lines of the page, in Markdown.

    Args:
        plan: the experiment.
        imagined: what is assumed of the data.
        config: a hospital's ``client.toml``; what its policy refuses and bounds is then said too.
        load: load the data in place of assuming anything: the hospital's own, or else those that the experiment names.

    Raises:
        OmniFMError: an arm cannot be built, or the data cannot be loaded.
    """
    yield f"# What leaves a hospital in the experiment {plan.name!r}"
    yield ""
    yield from _paragraph(
        "As a deployment over the network carries it out; on one machine nothing leaves. " + _about_arms(plan)
    )
    last, dataset = None, None
    for number, (name, experiment) in enumerate(plan.arms.items()):
        try:
            if load and last != (last := (experiment.data, experiment.partition, experiment.seed)):
                dataset = _loaded(experiment, config)
            spec = describe_data(experiment, dataset) if dataset else size_and_spec(experiment, imagined)[1]
            found = disclose(experiment, spec)
        except OmniFMError as error:
            raise type(error)(f"In arm {name!r}: {error}") from None
        if not number:
            once = [*_listed(JOINING, found), CONNECTION]
            yield from _titled("What leaves once, when the hospital joins", once, "##")
        yield f"## Arm {name!r}: {experiment.task} by {experiment.algorithm}"
        yield ""
        yield from _section(experiment, found, dataset, config)
    if config:
        yield f"## The policy of {config.name!r}"
        yield ""
        yield from _policy(plan, config)


def _about_arms(plan: Plan) -> str:
    count = len(plan.arms)
    return f"It has {count} arms, which run one after another." if count > 1 else "It has one arm."


def _loaded(experiment: Experiment, config: ClientConfig | None) -> FederatedDataset:
    if config is None:
        return load_dataset(experiment.data, experiment.partition, experiment.seed)
    return load_client_data(at_hospital(experiment, config), config)


def _section(
    experiment: Experiment, found: Disclosure, dataset: FederatedDataset | None, config: ClientConfig | None
) -> Iterator[str]:
    if found.arm.algorithm.pools_data:
        yield from _paragraph(
            f"{experiment.algorithm!r} needs all images in one place. A deployment refuses it, so that nothing leaves."
        )
        return
    if config:
        yield from _titled("What the hospital's policy refuses", _refused(experiment, found, dataset, config))
    yield from _titled("What leaves in each round in which it trains", _tensors(found))
    answering = {kind: words for kind, words in ANSWERING.items() if kind is Reply or not found.arm.runtime.secure_sum}
    yield from _titled("Beside the tensors, with every answer", _listed(answering, found))
    yield from _titled("With each evaluation", _listed(SCORING, found))
    yield from _titled("How often", _how_often(found))
    yield from _titled("What never leaves", _kept(found))
    yield from _titled("With which guarantee", guarantee(found))
    yield from _titled("What these figures rest on", _basis(found, dataset))


def _titled(title: str, lines: Iterable[str], level: str = "###") -> Iterator[str]:
    yield f"{level} {title}"
    yield ""
    for line in lines:
        yield from _wrapped(line, "- ")
    yield ""


def _words(found: Disclosure) -> dict[str, str]:
    arm, tables = found.arm, found.arm.task.table_shapes
    shapes = [f"{name} ({' x '.join(map(str, shape))})" for name, shape in tables.items()]
    notes = ["the modality of its images"] if Kind.PROTOTYPE in found.bytes_by_kind else []
    if arm.runtime.acceptance:
        notes += ["what share of the weights that it received it has started from"]
    if arm.runtime.privacy:
        notes += ["the epsilon that has been spent so far"]
    return {
        "answer_patients": str(arm.experiment.data.answer_patients),
        "metric": arm.task.main_metric,
        "tables": f"tables of counts of its examples: {', '.join(shapes)}" if shapes else "",
        "notes": " and ".join(notes),
        "prototypes": _prototypes(found),
        "sums": SUMS if arm.runtime.secure_sum else "",
    }


def _listed(fields: Mapping[type, Mapping[str, str]], found: Disclosure) -> Iterator[str]:
    words, private = _words(found), PRIVATE if found.arm.runtime.privacy else {}
    known = [{**texts, **private.get(kind, {})} for kind, texts in fields.items()]
    phrases = [text.format_map(words) for texts in known for text in texts.values()]
    yield from (f"{phrase[0].upper()}{phrase[1:]}." for phrase in phrases if phrase)


def _prototypes(found: Disclosure) -> str:
    tokens = [(len(tokens), tokens.shape[-1]) for tokens, _ in prototype_sets(found.upload, found.kinds)]
    if not tokens:
        return ""
    experiment = found.arm.experiment
    made = (
        f"at most {sum(count for count, _ in tokens)} prototypes of {tokens[0][1]} numbers, each the mean of what the "
        f"network makes of the spectra of images of at least {experiment.bank.min_cluster} patients"
    )
    if experiment.privacy.private:
        return made
    return f"{made}, {'exact' if exact_prototypes(experiment) else 'rounded, the same in every round'}"


def _tensors(found: Disclosure) -> Iterator[str]:
    kinds, words = found.bytes_by_kind, _words(found)
    said = {**TENSORS, **(PRIVATE_TENSORS if found.arm.runtime.privacy else {})}
    for leaves_as in dict.fromkeys(LEAVES_AS.values()):
        own = [kind for kind in kinds if LEAVES_AS[kind] == leaves_as]
        if own:
            texts = "; ".join(said[kind].format_map(words) for kind in own)
            atmost = "at most " if Kind.PROTOTYPE in own or (leaves_as == "weights" and found.circle_bytes) else ""
            yield f"{leaves_as}: {atmost}{_bytes(sum(kinds[kind] for kind in own))}: {texts}."
    if found.circle_bytes:
        yield (
            f"Of the weights, {_bytes(found.circle_bytes)} leave only in rounds in which the hospital is in a circle "
            f"with others that are like it."
        )
    if not kinds:
        yield "No tensors: each hospital learns alone."
        return
    if found.arm.runtime.secure_sum is not None:
        yield SUMMED.format(size=_bytes(found.masked_bytes))
        return
    rounds, size = found.arm.experiment.federation.rounds, found.upload.size
    yield (
        f"Together at most {_bytes(size)} a round and {_bytes(rounds * size)} in all {rounds} rounds. With names and "
        f"scores an answer is about {_bytes(found.answer_bytes)}; the audit log has the exact size of each."
    )


def _how_often(found: Disclosure) -> Iterator[str]:
    federation, clients = found.arm.experiment.federation, len(found.arm.participants)
    chosen, points = sampled(federation.participation, clients), len(federation.evaluate)
    early = f", fewer if {federation.patience} evaluations in a row bring nothing new" if federation.patience else ""
    if chosen < clients:
        yield (
            f"It trains in at most {federation.rounds} rounds{early}: in each, {chosen} of {clients} hospitals are "
            f"drawn at random."
        )
    else:
        yield f"It trains in {federation.rounds} rounds{early}."
    each = f"at {points} point{'s' if points > 1 else ''} ({', '.join(federation.evaluate)})"
    evaluated = federation.rounds_evaluated
    yield (
        f"It is evaluated on its validation data after {evaluated} of the rounds, {each}, and at the end "
        f"on its test data, once at each point."
    )
    yield "A message that was lost is sent again, and a run that was stopped may be resumed: each answer is logged."


def _kept(found: Disclosure) -> Iterator[str]:
    yield from (line.format_map(_words(found)) for line in NEVER)
    for part, size in found.kept_bytes.items():
        yield f"The part {part!r} of the network, {_bytes(size)}."


def _basis(found: Disclosure, dataset: FederatedDataset | None) -> Iterator[str]:
    shape = found.arm.data_spec.shape
    per_class, per_answer = found.more_per_class(), found.more_per_answer()
    known = "in the data loaded here" if dataset else "assumed (--classes, --answers or --data change it)"
    if per_class:
        yield f"{len(shape.label_names)} classes, {known}: each class more adds {_bytes(per_class)} to an upload."
    if per_answer:
        yield f"{len(shape.vocabulary)} answers, {known}: each answer more adds {_bytes(per_answer)} to an upload."
    size = " x ".join(map(str, shape.size))
    channels = f"{shape.channels} channel{'s' if shape.channels > 1 else ''}"
    yield f"Images of {size} pixels and {channels}{'' if dataset else ', as the experiment has it'}."
    if dataset is None:
        yield "Images of two axes; volumes would change the figures: --data counts from the data themselves."


def _refused(
    experiment: Experiment, found: Disclosure, dataset: FederatedDataset | None, config: ClientConfig
) -> Iterator[str]:
    reasons = list(refusals(experiment, found.arm.data_spec, config, dataset))
    yield from (f"Refused, {what}: {reason}" for what, reason in reasons)
    if not reasons:
        yield "Nothing that can be told before the run."
    if dataset is None:
        yield (
            f"Not looked at: whether at least {config.policy.minimum_patients} patients are in the training data "
            f"(policy.minimum_patients; --data counts them)."
        )
    if experiment.init != SCRATCH:
        yield f"Not looked at: whether the weights to start from, {experiment.init!r}, have been brought here."


def _policy(plan: Plan, config: ClientConfig) -> Iterator[str]:
    policy = config.policy
    yield from _paragraph("Checked on every request and again on every finished upload, whatever the server asks:")
    for key, text in POLICY.items():
        value = getattr(policy, key)
        shown = (", ".join(value) or "none") if isinstance(value, tuple) else _shown(value)
        yield from _wrapped(f"policy.{key} = {shown}: {text}.", "- ")
    yield ""
    rounds = sum(one.federation.rounds + 1 for one in plan.arms.values())
    if 0 < policy.rounds_a_day < rounds:
        yield from _paragraph(
            f"The experiment has {rounds} rounds and final evaluations: after {policy.rounds_a_day} of them within 24 "
            f"hours the hospital refuses more (policy.rounds_a_day)."
        )
    deadline = deploy_settings(plan.document).deadline / 60
    if policy.minutes < deadline:
        yield from _paragraph(
            f"The server would wait {deadline:g} minutes for an answer; the hospital ends the work of a request after "
            f"{policy.minutes:g} (policy.minutes)."
        )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _bytes(count: int) -> str:
    return f"{count:,} bytes" + (f" ({count / 1e6:.1f} MB)" if count >= 1e6 else "")


def _paragraph(text: str) -> Iterator[str]:
    yield from _wrapped(text, "")
    yield ""


def _wrapped(text: str, mark: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
