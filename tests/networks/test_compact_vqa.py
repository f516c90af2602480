from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from omnifm.data.columns import Texts
from omnifm.data.subset import Batch
from omnifm.networks.answering import written
from omnifm.networks.compact_vqa import ByteDecoder, CompactAnswerer, CompactSettings, hashed_words, position_codes

VOCABULARY = ("left", "no", "yes")


def answerer(**settings: Any) -> CompactAnswerer:
    made = CompactSettings(**{"width": 8, "buckets": 64, "answer_bytes": 8, "dropout": 0.0, **settings})
    return CompactAnswerer(made, 1, VOCABULARY)


def batch(questions: list[str], answers: list[str]) -> Batch:
    image = torch.rand(len(questions), 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return {"image": image, "question": Texts.of(questions).utf8, "answer": Texts.of(answers).utf8}


GIVEN = batch(["is there a lesion?", "which side?", "what is it"], ["yes", "left", "a cyst"])


def predict(made: CompactAnswerer, given: Batch, train: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(0)
    backbone, head = (half.train(train) for half in made.halves())
    with torch.no_grad():
        tokens = backbone(given["image"])
        return head(tokens, tokens, made.read(given))


def test_words_are_hashed_the_same_everywhere() -> None:
    assert hashed_words("Is it, the LESION?", 1000) == hashed_words("is it the lesion", 1000)
    # SHA-256 of "lesion" begins with these bytes, on any machine.
    assert hashed_words("lesion", 1 << 20) == [(0xCD5F70CA8D37802A % (1 << 20) + 1, 0x502D296B42BEDF5C % (1 << 20) + 1)]
    assert hashed_words("x-ray t2 肺部", 50)[2:] == [*hashed_words("t2", 50), *hashed_words("肺 部", 50)]
    assert all(1 <= bucket <= 3 for word in "abcdefgh" for pair in hashed_words(word, 3) for bucket in pair)
    assert hashed_words("?!", 10) == []


def test_reading_adds_numbers() -> None:
    read = answerer().read(GIVEN)
    assert read["class"].tolist() == [2, 0, 3]
    assert read["words"].shape == (3, 2, 4)
    assert (read["words"][1, :, 2:] == 0).all()
    assert (read["words"][1, :, :2] > 0).all()
    assert answerer().read(batch(["?"], ["no"]))["words"].tolist() == [[[0], [0]]]


def test_loss_by_hand() -> None:
    made = answerer(decoder=0.5)
    read = made.read(batch(["q", "q"], ["no", "a"]))
    # Classes: log 4 each, when all are alike. Bytes: n, o, end; a, end: five, log 256 each when alike.
    alike = {"classes": torch.zeros(2, 4), "bytes": torch.zeros(2, 3, 256)}
    assert made.loss(alike, read).item() == pytest.approx(math.log(4) + 0.5 * math.log(256))
    sure = {"classes": 99 * torch.eye(4)[[1, 3]], "bytes": torch.zeros(2, 3, 256)}
    for row, text in enumerate((b"no\0", b"a\0")):
        for place, letter in enumerate(text):
            sure["bytes"][row, place, letter] = 99
    assert made.loss(sure, read).item() == pytest.approx(0, abs=1e-6)


def test_an_answer_outside_the_vocabulary_is_written() -> None:
    made = answerer()
    prediction = {
        "classes": 9 * torch.eye(4)[[1, 3, 3]],
        "written_likely": torch.tensor([0.0, -1.0, -2.0]),
        "written": torch.tensor([list(b"left\0\0"), list(b"a cyst"), [0xFF, 0, 65, 66, 67, 68]], dtype=torch.uint8),
    }
    assert made.answers(prediction, GIVEN) == ["no", "a cyst", "\ufffd"]
    assert written(torch.tensor([list("肺".encode()), [32, 65, 0]], dtype=torch.int64).view(2, -1)) == ["肺", "A"]


def test_the_decoder_learns_to_write_what_is_no_class() -> None:
    torch.manual_seed(0)
    made = answerer(width=16)
    backbone, head = made.halves()
    read = made.read(GIVEN)

    def answered() -> dict[str, Tensor]:
        tokens = backbone(read["image"])
        return head(tokens, tokens, read)

    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        loss = made.loss(answered(), read)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    backbone.eval()
    head.eval()
    with torch.no_grad():
        backbone.train()  # three images: their own statistics
        assert made.answers(answered(), read) == ["yes", "left", "a cyst"]


def test_writing_follows_the_same_rule_as_training() -> None:
    torch.manual_seed(0)
    decoder, seen = ByteDecoder(8), torch.randn(4, 8)
    with torch.no_grad():
        text, likely = decoder.write(seen, 6)
        text = text.long()
        logits = decoder(seen, text)
    ends = torch.nn.functional.pad(text == 0, (1, 0))[:, :-1].cummax(dim=1).values
    assert torch.equal(logits.argmax(dim=2).masked_fill(ends, 0), text)
    each = logits.log_softmax(dim=2).gather(2, text.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(likely, each.masked_fill(ends, 0).sum(dim=1))


def test_an_unlikely_text_gives_way_to_the_likeliest_agreed_answer() -> None:
    # "other" has probability 0.4, "no" 0.3: the text is taken if it is likelier than 3 / 4 of all others.
    classes = torch.tensor([[0.2, 0.3, 0.1, 0.4]]).log().expand(2, -1)
    prediction = {
        "classes": classes,
        "written": Texts.of(["cyst", "cyst"]).utf8,
        "written_likely": torch.tensor([0.8, 0.7]).log(),
    }
    assert answerer().answers(prediction, GIVEN) == ["cyst", "no"]


def test_long_answers_are_cut_and_short_ones_end() -> None:
    made = answerer(answer_bytes=4)
    found = predict(made, batch(["q", "q"], ["pneumonia", "ct"]), train=True)
    assert found["bytes"].shape == (2, 4, 256)
    assert "written" not in found
    assert predict(made, GIVEN)["written"].shape == (3, 4)


def test_the_truth_does_not_touch_what_is_answered() -> None:
    made = answerer()
    other = {**GIVEN, "answer": Texts.of(["no", "no", "no"]).utf8}
    one, two = predict(made, GIVEN), predict(made, other)
    assert torch.equal(one["classes"], two["classes"])
    assert torch.equal(one["written"], two["written"])


def test_padding_does_not_touch_the_answer() -> None:
    made = answerer()
    alone = {name: values[1:2] for name, values in GIVEN.items()}
    torch.testing.assert_close(predict(made, GIVEN)["classes"][1:2], predict(made, alone)["classes"])


def test_question_and_image_both_matter() -> None:
    made = answerer()
    asked = {**GIVEN, "question": Texts.of(["which side?", "which side?", "what is it"]).utf8}
    assert not torch.allclose(predict(made, GIVEN)["classes"][0], predict(made, asked)["classes"][0])
    seen = {**GIVEN, "image": GIVEN["image"].roll(1, 0)}
    assert not torch.allclose(predict(made, GIVEN)["classes"][0], predict(made, seen)["classes"][0])


def test_places_tell_rows_and_columns_apart() -> None:
    grid = position_codes(8, 3, 5)
    assert grid.shape == (8, 3, 5)
    assert torch.equal(grid[:4, 1, 0], grid[:4, 1, 4])
    assert torch.equal(grid[4:, 0, 2], grid[4:, 2, 2])
    assert len(grid.flatten(1).T.unique(dim=0)) == 15


def test_without_any_agreed_answer_all_is_written() -> None:
    made = CompactAnswerer(CompactSettings(width=8), 1, ())
    found = predict(made, GIVEN)
    assert found["classes"].shape == (3, 1)
    assert len(made.answers(found, GIVEN)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"width": 8, "heads": 5}, "heads must divide"),
        ({"layers": 0}, "layers\n.*greater than or equal to 1"),
        ({"buckets": 1}, "buckets\n.*greater than or equal to 2"),
        ({"dropout": 1.0}, "dropout\n.*less than 1"),
        ({"decoder": -1.0}, "decoder\n.*greater than or equal to 0"),
    ],
)
def test_settings_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompactSettings(**change)
