"""Training methods behind one interface and one registry."""

from bilora.methods.balance import BalanceOptions, LoraNbar, LoraObar
from bilora.methods.base import Method
from bilora.methods.bilora import BiLora, BiLoraOptions
from bilora.methods.dual import DualLora, DualLoraOptions
from bilora.methods.efficient_flat import EflatLora, EflatOptions
from bilora.methods.efficient_sam import EsamOptions, LookSamOptions, LoraEsam, LoraLookSam
from bilora.methods.exact_adversary import ExactAdversary, ExactAdversaryOptions
from bilora.methods.full import FullFineTuning
from bilora.methods.lora import Lora
from bilora.methods.merged_noise import FlatLora, FlatLoraOptions, RwpFull, RwpFullOptions
from bilora.methods.options import MethodError, MethodOptions
from bilora.methods.random_outputs import Rop, RopOptions
from bilora.methods.random_perturbation import RwpLora, RwpLoraOptions
from bilora.methods.registry import METHODS, create_method, method_names
from bilora.methods.sam import LoraSam, SamOptions
from bilora.methods.sam_ascents import Asam, AsamOptions, Fsam, FsamOptions
from bilora.methods.sam_mixtures import Gsam, GsamOptions, Wsam, WsamOptions
from bilora.methods.single_step import Msam, MsamOptions, S2Sam, S2SamOptions
from bilora.methods.window import Window
from bilora.methods.zeroth_order import AdaZoSam, AdaZoSamOptions

__all__ = [
    "METHODS",
    "AdaZoSam",
    "AdaZoSamOptions",
    "Asam",
    "AsamOptions",
    "BalanceOptions",
    "BiLora",
    "BiLoraOptions",
    "DualLora",
    "DualLoraOptions",
    "EflatLora",
    "EflatOptions",
    "EsamOptions",
    "ExactAdversary",
    "ExactAdversaryOptions",
    "FlatLora",
    "FlatLoraOptions",
    "Fsam",
    "FsamOptions",
    "FullFineTuning",
    "Gsam",
    "GsamOptions",
    "LookSamOptions",
    "Lora",
    "LoraEsam",
    "LoraLookSam",
    "LoraNbar",
    "LoraObar",
    "LoraSam",
    "Method",
    "MethodError",
    "MethodOptions",
    "Msam",
    "MsamOptions",
    "Rop",
    "RopOptions",
    "RwpFull",
    "RwpFullOptions",
    "RwpLora",
    "RwpLoraOptions",
    "S2Sam",
    "S2SamOptions",
    "SamOptions",
    "Window",
    "Wsam",
    "WsamOptions",
    "create_method",
    "method_names",
]
