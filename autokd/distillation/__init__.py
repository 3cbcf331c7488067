"""Distillation methods, as PyTorch modules that can be used without a search.

Start with `base`, the contract of a method, and `methods.kd`, the simplest one. `methods` has one file for each method,
`wrappers` one for each way to modify or combine methods, `panels` one for each way to learn from several teachers, and
`registry` makes them by name. `Distiller` applies a method in a custom training loop. `feature_extractor` and `maps`
provide features and embeddings, and `pruning` makes a sparse teacher.
"""

from autokd.distillation.base import BatchContext, LogitMethod, Method, Mixture, Need, Outputs, Wrapper
from autokd.distillation.distiller import Distiller
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.methods.abkd import ABKD, abkd_loss
from autokd.distillation.methods.attention import AT, attention_loss
from autokd.distillation.methods.bdkd import BDKD, bdkd_loss, bdkd_teacher_loss
from autokd.distillation.methods.bdkd_online import BDKDOnline
from autokd.distillation.methods.crd import CRD
from autokd.distillation.methods.crld import CRLD, crld_loss
from autokd.distillation.methods.dist import DIST, dist_loss
from autokd.distillation.methods.dkd import DKD, dkd_loss
from autokd.distillation.methods.dml import DML
from autokd.distillation.methods.fitnet import FitNet, hint_loss
from autokd.distillation.methods.hints import ClusteredHints
from autokd.distillation.methods.kd import KD, kd_loss
from autokd.distillation.methods.ldrld import LDRLD, ldrld_loss
from autokd.distillation.methods.mlld import MLLD, mlld_loss
from autokd.distillation.methods.modality import Modality, modality_loss
from autokd.distillation.methods.multi_step import MultiStep, embedding_loss
from autokd.distillation.methods.nkd import NKD, nkd_loss
from autokd.distillation.methods.review import ReviewKD
from autokd.distillation.methods.rkd import RKD, angle_loss, distance_loss
from autokd.distillation.methods.rld import RLD, confidence_loss, masked_loss
from autokd.distillation.methods.similarity import SP, similarity_loss
from autokd.distillation.methods.sld import SLD, sld_loss
from autokd.distillation.methods.sokd import SOKD
from autokd.distillation.methods.ttm import TTM, WTTM, ttm_loss, wttm_loss
from autokd.distillation.panels.base import PanelWrapper
from autokd.distillation.panels.ces import CES
from autokd.distillation.panels.dgkd import DGKD
from autokd.distillation.panels.ensemble import Ensemble
from autokd.distillation.panels.takd import TAKD
from autokd.distillation.recruits import Recruits
from autokd.distillation.registry import METHODS, make_method, method_class, method_defaults, method_distributions
from autokd.distillation.wrappers.combined import Combined
from autokd.distillation.wrappers.continuation import Continuation
from autokd.distillation.wrappers.ctkd import CTKD
from autokd.distillation.wrappers.early_stopping import EarlyStopping
from autokd.distillation.wrappers.in_turn import InTurn
from autokd.distillation.wrappers.standardise import Standardised

__all__ = [
    "ABKD",
    "AT",
    "BDKD",
    "CES",
    "CRD",
    "CRLD",
    "CTKD",
    "DGKD",
    "DIST",
    "DKD",
    "DML",
    "KD",
    "LDRLD",
    "METHODS",
    "MLLD",
    "NKD",
    "RKD",
    "RLD",
    "SLD",
    "SOKD",
    "SP",
    "TAKD",
    "TTM",
    "WTTM",
    "BDKDOnline",
    "BatchContext",
    "ClusteredHints",
    "Combined",
    "Continuation",
    "Distiller",
    "EarlyStopping",
    "Ensemble",
    "FeatureExtractor",
    "FitNet",
    "InTurn",
    "LogitMethod",
    "Method",
    "Mixture",
    "Modality",
    "MultiStep",
    "Need",
    "Outputs",
    "PanelWrapper",
    "Recruits",
    "ReviewKD",
    "Standardised",
    "Wrapper",
    "abkd_loss",
    "angle_loss",
    "attention_loss",
    "bdkd_loss",
    "bdkd_teacher_loss",
    "confidence_loss",
    "crld_loss",
    "dist_loss",
    "distance_loss",
    "dkd_loss",
    "embedding_loss",
    "hint_loss",
    "kd_loss",
    "ldrld_loss",
    "make_method",
    "masked_loss",
    "method_class",
    "method_defaults",
    "method_distributions",
    "mlld_loss",
    "modality_loss",
    "nkd_loss",
    "similarity_loss",
    "sld_loss",
    "ttm_loss",
    "wttm_loss",
]
