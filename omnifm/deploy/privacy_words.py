"""The words of the page for a data officer: for each field of what a hospital sends, and each key of its policy."""

from __future__ import annotations

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Upload
from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply
from omnifm.tasks.task import DataShape

JOINING: dict[type, dict[str, str]] = {
    ClientStats: {
        "name": "the hospital's name in the federation",
        "group": "the modality of its images (several are joined by +)",
        "train": "how many examples it has for training",
        "validation": "how many for validation",
        "test": "how many for testing",
    },
    DataShape: {
        "channels": "the channels of its images",
        "size": "their size in pixels",
        "label_names": "the names of its classes",
        "vocabulary": "where there are questions: each answer that at least {answer_patients} of its training patients "
        "share, as text",
    },
    ClientProperties: {
        "stats": "",
        "shape": "",
        "channels": "the channels of an image as the network sees it",
        "axes": "its number of axes",
        "versions": "the versions of omnifm and torch",
    },
}
"""What leaves once, field by field; "" where the field holds others of this table."""

ANSWERING: dict[type, dict[str, str]] = {
    Reply: {
        "client": "the hospital's name",
        "outcome": "whether the work was done, was refused or has failed",
        "reason": "if not done: why, in at most 500 characters that name no file and no folder of the hospital",
        "introduction": "",
        "state": "the BLAKE3 digest of the state that it keeps to itself",
        "evaluations": "",
        "seconds": "the seconds that loading, building the network and the work have taken",
        "sum": "{sums}",
        "upload": "",
        "masked": "",
    },
    Upload: {
        "client": "",
        "samples": "how many examples it has trained on",
        "loss": "its mean training loss",
        "change": "",
        "extra": "",
        "notes": "{notes}",
    },
}
"""What leaves beside the tensors with each answer."""

SCORING: dict[type, dict[str, str]] = {
    EvaluationResult: {
        "split": "",
        "point": "",
        "numbers": "each metric of its examples, {metric} among them, and the loss",
        "tables": "{tables}",
    },
}
"""What leaves with each evaluation."""

TENSORS: dict[Kind, str] = {
    Kind.PARAMETER: "how this hospital's training has changed each shared weight of the network",
    Kind.BUFFER: "how its images have changed running statistics of the network (means and variances of features)",
    Kind.COUNTER: "counters of the network, such as how many batches it has seen",
    Kind.PROTOTYPE: "{prototypes}",
    Kind.COUNT: "how many patients are behind each prototype, and how often this hospital's images have retrieved each "
    "entry of the common bank",
    Kind.AUXILIARY: "further tensors of the algorithm, which tell as much of the training data as the weights do",
}
"""What the kinds of tensors are."""

PRIVACY: dict[str, str] = {
    "clip": "Clipping: a round's change of weights is scaled down to an L2 norm of at most {clip:g} before it leaves. "
    "It limits how far this hospital moves the model. Without noise it guarantees no privacy, and only weights are "
    "clipped: no running statistics, prototypes, counts or further tensors.",
    "secure_aggregation": "Secure aggregation: no upload leaves by itself. It is turned into integers and masked with "
    "random numbers that cancel out in the sum over at least {secure_threshold} hospitals, and over more than two "
    "thirds of those that share keys in the round. The server learns that sum, with the sums of their samples and "
    "losses, and nothing else of the uploads, even if its messages do not keep to the protocol. It would learn more "
    "with the help of a third of these hospitals, or from two runs of one round that differ in one hospital; and "
    "whoever may start other programs here through the server is not kept out by it. The sum itself, which all "
    "hospitals then share, is not anonymous: that would take noise.",
    "secure_threshold": "",
    "epsilon": "Everything that leaves in the run, of all kinds listed above, is paid for from one budget: epsilon = "
    "{epsilon:g} for each patient, whether the images serve for training, validation or testing. The noise follows "
    "from it before the run begins.",
    "noise_multiplier": "The noise of a training step is {noise_multiplier:g} times what one patient can contribute to "
    "it; epsilon follows from it.",
    "delta": "delta = {delta:g} is the probability with which the bound by epsilon may not hold. It should be well "
    "below 1 divided by the number of patients.",
    "sampling": "Each training step draws each patient with the probability {sampling:g}, by coins that nobody outside "
    "the hospital knows.",
    "patient_clip": "What one patient contributes to a step is clipped to an L2 norm of {patient_clip:g} before it is "
    "summed and noise is added.",
    "patient_images": "Of one patient at most {patient_images} images are in a step.",
    "prototypes_every": "If the algorithm shares prototypes and retrievals, they leave with noise, every "
    "{prototypes_every} rounds.",
}
"""What the keys of ``[privacy]`` do, if they are set; "" where another key says it."""

PRIVATE: dict[type, dict[str, str]] = {
    ClientStats: {
        "train": "how many patients it has for training, with noise",
        "validation": "how many for validation, with noise",
        "test": "how many for testing, with noise",
    },
    Reply: {"seconds": ""},
    Upload: {
        "samples": "how many patients it has trained on, with noise: the same number in every round",
        "loss": "",
    },
    EvaluationResult: {"numbers": "{metric}, the mean over its patients, with noise", "tables": ""},
}
"""What leaves in place of it where the run is private."""

PRIVATE_TENSORS: dict[Kind, str] = {
    Kind.PARAMETER: "how this hospital's training, with noise, has changed each shared weight of the network",
    Kind.PROTOTYPE: "{prototypes}, with noise, and none in which noise dominates",
    Kind.COUNT: "about how many patients are behind each prototype, and how often this hospital's images have "
    "retrieved each entry of the common bank, with noise",
    Kind.AUXILIARY: "further tensors of the algorithm, computed from the weights with noise",
}
"""The same for tensors."""

PROMISE = (
    "Differential privacy: all that leaves this hospital in the run is ({epsilon:.3g}, {delta:g})-differentially "
    "private for each of its patients. Whatever anyone does with it and knows besides: what they find is about as "
    "probable without the patient. The odds of any conclusion about a patient change at most by the factor "
    "{factor:.3g} (e to the power of epsilon), but for a probability of about delta.",
    "The noise comes from a secret of the hospital that never leaves it. The budget is counted at the hospital, before "
    "anything is computed: when it is spent, nothing more is answered, whatever the server asks.",
)
"""What a private run guarantees."""

NO_PROMISE = (
    "Not covered: the names of the hospital and of its classes, the modality, the size of images, and when it "
    "answers. They are taken to be known.",
    "What many of the hospital's patients have in common is learned, and can be found out: it is what the run is for.",
    "A patient who is at two hospitals, or in two runs, is protected less: the epsilons of both add up (at most).",
)
"""What a private run does not guarantee."""

POLICY: dict[str, str] = {
    "tasks": "tasks that it trains for",
    "algorithms": "algorithms that it takes part in",
    "models": "files and models of a hub that a request may name",
    "image_size": "the largest side of an image, in pixels",
    "batch_size": "the largest batch",
    "parameters": "the most numbers in a network",
    "minutes": "the longest time of one request",
    "epochs": "the most passes over its training data in a round (0: any number)",
    "rounds_a_day": "the most rounds that it answers within 24 hours (0: any number)",
    "models_a_round": "for how many different models it answers one round",
    "rho": "the largest share of a spectrum that a token sees",
    "grid": "the finest grid of a token",
    "token_dim": "the most numbers in a token or prototype",
    "upload": "the kinds of tensors that may leave",
    "personal": "parts of the network that never leave, whatever the experiment says",
    "prototypes": "the most prototypes of a round",
    "min_cluster": "the fewest patients behind a prototype",
    "exact_prototypes": "whether prototypes may leave without being rounded",
    "minimum_patients": "the fewest patients in its training data with which it takes part",
    "answer_patients": "the fewest training patients who must share an answer before its text leaves",
    "megabytes": "the largest message, either way",
    "secure_aggregation": "whether an upload may leave by itself (allowed), or in a secure sum only (required)",
    "secure_threshold": "the fewest hospitals in a secure sum",
    "max_epsilon": "the epsilon that all runs together may cost a patient, for good (0: any, and runs without "
    "differential privacy too)",
    "max_delta": "the delta at which it is counted, and the most that a run may have",
}
"""What each key of a hospital's policy bounds."""

CONNECTION = "The hospital's address in the network, its public key, and when its service is connected."
"""What the server learns from being called."""

NEVER = (
    "Images, masks, labels, questions and predictions, patient by patient; names of patients and files. The report of "
    "a deployed run has no pictures.",
    "Answers that fewer than {answer_patients} of the hospital's training patients share.",
    "What the hospital keeps between rounds (the state of the algorithm), its secret, and its audit log.",
)
"""What stays, in every experiment."""

NO_PRIVACY = (
    "There is no differential privacy: no noise is added to anything that leaves, and no number bounds what can be "
    "found out about one patient. Neither weights nor prototypes are anonymous.",
    "Counts, losses, scores and tables have no minimum number of patients.",
)
"""What is not guaranteed without ``[privacy]`` epsilon or noise_multiplier."""

SEEN_ALONE = (
    "There is no secure aggregation: the server sees this hospital's upload by itself. TLS protects it from outsiders "
    "on the way; whoever operates the server can read it."
)
"""What is not guaranteed without secure aggregation."""

SUMMED = (
    "The tensors, the samples and the loss leave in a secure sum only: {size} of masked integers a round, which tell "
    "nothing by themselves. Scores do not go through it: the server sees those of each hospital."
)
"""What is said of an upload with secure aggregation."""

SUMS = "public keys, encrypted shares and signatures of secure sums, which are made anew for each, and its certificate"
"""What secure aggregation sends beside the vector."""
