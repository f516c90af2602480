"""LLaVA: an image encoder, a projector and a language model that answers questions about an image.

Liu et al., Visual Instruction Tuning, NeurIPS 2023, and Improved Baselines with Visual Instruction Tuning, CVPR 2024;
in the form of Hugging Face's ``LlavaForConditionalGeneration``.
"""

from omnifm.networks.llava.answerer import LlavaAnswerer
from omnifm.networks.llava.settings import LlavaSettings

__all__ = ["LlavaAnswerer", "LlavaSettings"]
