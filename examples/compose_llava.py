"""Compose a LLaVA model from a CLIP image encoder and a LLaMA language model, with a new projector between them.

    python examples/compose_llava.py openai/clip-vit-base-patch32 meta-llama/Llama-3.2-3B models/llava

Each is a folder or a repository of the Hugging Face Hub. The projector is random; the federation trains it.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector


def compose(vision: str, language: str, folder: Path, seed: int = 0) -> None:
    """Write the model to a folder; its weights keep the data types of the two models."""
    encoder = CLIPVisionModel.from_pretrained(vision, dtype="auto")
    speaker = AutoModelForCausalLM.from_pretrained(language, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(language)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    if len(tokenizer) > speaker.config.vocab_size:
        speaker.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = LlavaConfig(
        vision_config=encoder.config,
        text_config=speaker.config,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),  # type: ignore[arg-type]
        image_seq_length=(encoder.config.image_size // encoder.config.patch_size) ** 2,
    )
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    torch.manual_seed(seed)
    model.model.multi_modal_projector = LlavaMultiModalProjector(config).to(speaker.dtype)
    model.model.vision_tower = encoder
    model.model.language_model, model.lm_head = speaker.model, speaker.lm_head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil.from_pretrained(vision).save_pretrained(folder)


if __name__ == "__main__":
    compose(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
