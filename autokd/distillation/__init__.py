"""Distillation methods: one file each. They know tensors and modules, nothing of searches."""

from autokd.distillation.attention import AT, attention_loss
from autokd.distillation.base import Lesson, LogitMethod, Method, Need, Outputs, Wrapper
from autokd.distillation.bdkd import BDKD, bdkd_loss, bdkd_teacher_loss
from autokd.distillation.combined import Combined
from autokd.distillation.continuation import Continuation
from autokd.distillation.crd import CRD
from autokd.distillation.ctkd import CTKD
from autokd.distillation.dist import DIST, dist_loss
from autokd.distillation.distiller import Distiller
from autokd.distillation.dkd import DKD, dkd_loss
from autokd.distillation.early_stopping import EarlyStopping
from autokd.distillation.fitnet import FitNet, hint_loss
from autokd.distillation.hints import ClusteredHints
from autokd.distillation.kd import KD, kd_loss
from autokd.distillation.mlld import MLLD, mlld_loss
from autokd.distillation.modality import Modality, modality_loss
from autokd.distillation.multi_step import MultiStep, embedding_loss
from autokd.distillation.nkd import NKD, nkd_loss
from autokd.distillation.registry import METHODS, make_method, method_class, method_distributions
from autokd.distillation.review import ReviewKD
from autokd.distillation.rkd import RKD, angle_loss, distance_loss
from autokd.distillation.similarity import SP, similarity_loss
from autokd.distillation.standardise import Standardised
from autokd.distillation.taps import Taps

__all__ = [
    "AT",
    "BDKD",
    "CRD",
    "CTKD",
    "DIST",
    "DKD",
    "KD",
    "METHODS",
    "MLLD",
    "NKD",
    "RKD",
    "SP",
    "ClusteredHints",
    "Combined",
    "Continuation",
    "Distiller",
    "EarlyStopping",
    "FitNet",
    "Lesson",
    "LogitMethod",
    "Method",
    "Modality",
    "MultiStep",
    "Need",
    "Outputs",
    "ReviewKD",
    "Standardised",
    "Taps",
    "Wrapper",
    "angle_loss",
    "attention_loss",
    "bdkd_loss",
    "bdkd_teacher_loss",
    "dist_loss",
    "distance_loss",
    "dkd_loss",
    "embedding_loss",
    "hint_loss",
    "kd_loss",
    "make_method",
    "method_class",
    "method_distributions",
    "mlld_loss",
    "modality_loss",
    "nkd_loss",
    "similarity_loss",
]
