"""The OmniFM paper's additions to a network: spectral tokens, a knowledge bank and prompting. Torch only."""

from omnifm.spectral.adapter import AdapterOutput, AdapterSettings, SpectralAdapter
from omnifm.spectral.alignment import spectral_proximal_loss
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes, retrieve
from omnifm.spectral.fusion import PrototypeFusion
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.spectral.prompting import PrefixSuffixPrompting
from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.spectral.tokenizer import FreqMixTokenizer

__all__ = [
    "AdapterOutput",
    "AdapterSettings",
    "BankSettings",
    "FreqMixTokenizer",
    "KnowledgeBank",
    "PrefixSuffixPrompting",
    "PrototypeFusion",
    "Prototypes",
    "SpectralAdapter",
    "low_pass_log_amplitude",
    "retrieve",
    "spectral_proximal_loss",
    "spherical_k_means",
]
