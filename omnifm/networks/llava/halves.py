"""LLaVA in two halves, between which tokens of the image can be conditioned: image encoder | projector and language."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.data.subset import Batch
from omnifm.networks.answering import Answered, Head, ImageTokens
from omnifm.networks.llava import lora
from omnifm.networks.llava.pixels import clip_images


class LlavaTokens(ImageTokens):
    """The frozen image encoder: its patches' features, of the layers that the model's configuration names."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        config = model.config
        layers = config.vision_feature_layer
        self._layers: list[int] = [layers] if isinstance(layers, int) else list(layers)
        self._first = 1 if config.vision_feature_select_strategy == "default" else 0  # the class token comes first
        self._size = config.vision_config.image_size
        self.width = config.vision_config.hidden_size * len(self._layers)
        self.vision_tower = model.model.vision_tower
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def train(self, mode: bool = True) -> LlavaTokens:
        """Stay in evaluation mode: nothing in here is trained."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Map ``(batch, 1 or 3, h, w)`` in [0, 1] to ``(batch, patches, width)``, float32."""
        pixels = clip_images(image, self._size, self.mean, self.std).to(self.vision_tower.dtype)
        states = self.vision_tower(pixels, output_hidden_states=True).hidden_states
        return torch.cat([states[layer][:, self._first :] for layer in self._layers], dim=2).float()


class _Whole(NamedTuple):
    """The model that the halves were taken from, and PEFT's view of it. It owns no weights that they do not."""

    model: Any
    peft: Any | None


class LlavaHead(Head):
    """The projector, and the language model with its output layer.

    Args:
        model: Hugging Face's model, with low-rank changes in it or not.
        peft: PEFT's view of it, if there are any.
        end: the token that ends a text.
        max_new_tokens: where an answer is cut.
    """

    def __init__(self, model: Any, peft: Any | None, end: int, max_new_tokens: int) -> None:
        super().__init__()
        self.projector = model.model.multi_modal_projector
        self.language_model = model.model.language_model
        self.lm_head = model.lm_head
        self._whole = _Whole(model, peft)
        self._image_token: int = model.config.image_token_id
        self._end, self._max_new_tokens = end, max_new_tokens

    def train(self, mode: bool = True) -> LlavaHead:
        """Let only what goes into low-rank changes be dropped at random: the rest is frozen, or has no such layer."""
        super().train(False)
        self.training = mode
        for dropout in lora.dropouts(self):
            dropout.train(mode)
        return self

    def forward(self, tokens: Tensor, seen: Tensor, batch: Batch) -> Answered:
        """Return ``loss`` ``(batch,)``; in evaluation also the tokens ``written`` ``(batch, up to max_new_tokens)``."""
        projected = self.projector(in_scale(tokens, seen))
        answered = {"loss": self._loss(projected, batch)}
        if not self.training:
            answered["written"] = self._write(projected, batch["asked"], batch["asked_mask"])
        return answered

    def export(self, folder: Path) -> None:
        """Write the low-rank changes as PEFT does, and the projector next to them."""
        lora.save(self._whole.model, self._whole.peft, folder)

    def _loss(self, projected: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of each answer's tokens, given those before them."""
        ids, mask, answer = batch["told"], batch["told_mask"], batch["told_answer"]
        states = self.language_model(
            inputs_embeds=self._embedded(ids, projected),
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        row, place = answer.nonzero(as_tuple=True)
        logits = self.lm_head(states[row, place - 1])  # only where an answer is: a vocabulary is wide
        losses = F.cross_entropy(logits.float(), ids[row, place], reduction="none")
        return losses.new_zeros(len(ids)).index_add(0, row, losses) / answer.sum(dim=1)

    def _write(self, projected: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the likeliest next token over and over, until the end of the text."""
        from transformers import GenerationConfig

        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self._max_new_tokens, do_sample=False, eos_token_id=self._end, pad_token_id=self._end
        )
        written: Tensor = self._whole.model.generate(
            inputs_embeds=self._embedded(ids, projected), attention_mask=mask.long(), generation_config=settings
        )
        return written

    def _embedded(self, ids: Tensor, projected: Tensor) -> Tensor:
        """Return the embeddings of tokens, with the image's in place of those that stand for them."""
        embedded: Tensor = self.language_model.get_input_embeddings()(ids)
        return embedded.masked_scatter((ids == self._image_token).unsqueeze(2), projected.to(embedded.dtype))


def in_scale(tokens: Tensor, seen: Tensor) -> Tensor:
    """Give each token ``(batch, L, width)`` the mean and the deviation of the one that was ``seen`` in its place.

    The projector knows the encoder's features with their magnitudes; what conditions the tokens normalises them. Tokens
    that are as they were seen, normalised or not, come out as they were seen.
    """
    mean = seen.mean(dim=2, keepdim=True)
    deviation = seen.var(dim=2, keepdim=True, unbiased=False).add(1e-5).sqrt()
    return F.layer_norm(tokens, tokens.shape[2:]) * deviation + mean
