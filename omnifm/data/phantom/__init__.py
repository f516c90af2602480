"""Synthetic patients of real anatomy with known truth, as scanners of every modality see them.

>>> anatomy = load_anatomy(cache)
>>> patient = make_patient(anatomy, "glioma", seed=1, name="p1")
>>> truth = patient.slice(size=192)
>>> image = render(truth, Scanner("T2"), numpy_generator(1, "image", "p1"))
"""

from omnifm.data.phantom.anatomy import Anatomy, load_anatomy
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.phantom.lesions import LESION_KINDS
from omnifm.data.phantom.patient import Patient, Truth, make_patient
from omnifm.data.phantom.question_set import PhantomQuestionsSource
from omnifm.data.phantom.render import render
from omnifm.data.phantom.scanner import MODALITIES, Scanner
from omnifm.data.phantom.tissues import LESION_CODES, TISSUE_CODES, TISSUES

__all__ = [
    "LESION_CODES",
    "LESION_KINDS",
    "MODALITIES",
    "TISSUES",
    "TISSUE_CODES",
    "Anatomy",
    "Patient",
    "PhantomQuestionsSource",
    "PhantomSource",
    "Scanner",
    "Truth",
    "load_anatomy",
    "make_patient",
    "render",
]
