"""What `recommend` knows about a network: its kind, its size, and the dropout that it has."""

import re
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from thinnet.models.found import DROPS, FoundSite, Sites

SPEECH = re.compile(r"whisper|conformer|speech2text|spectrogram|melscale", re.IGNORECASE)  # that read spectrograms
DIFFUSION = re.compile(r"^dit\b|LabelEmbedder|UNet2DCondition|Transformer2DModel|Diffusion", re.IGNORECASE)
ATTENTION = re.compile(r"attention|attn$", re.IGNORECASE)


@dataclass(frozen=True)
class Traits:
    """The facts that decide which papers speak of networks like this one.

    Args:
        parameters: their number.
        depth: the number of repeated blocks: the most modules of one class in one list.
        dense, convolution, recurrent, attention, norm, batch_norm: whether it has such layers; dense means linear layers and no
            convolution, recurrence, attention or graph.
        vision: whether it starts with a convolution of images.
        language: whether it embeds tokens.
        graph: whether it passes messages.
        speech, diffusion: whether names of its classes say so.
        dropout: whether it drops anything in training.
        samples: the number of training samples; None where that is unknown.
        one_pass: whether each sample is seen once.
        fine_tuning: whether training starts from pretrained weights.
    """

    parameters: int
    depth: int
    dense: bool
    convolution: bool
    recurrent: bool
    attention: bool
    norm: bool
    batch_norm: bool
    vision: bool
    language: bool
    graph: bool
    speech: bool
    diffusion: bool
    dropout: bool
    samples: int | None = None
    one_pass: bool = False
    fine_tuning: bool = False

    @property
    def words(self) -> str:
        """The kind of the network in words."""
        kinds = ("dense", "convolution", "recurrent", "attention", "batch_norm", "vision", "language", "graph")
        found = [kind.replace("_", " ") for kind in (*kinds, "speech", "diffusion") if getattr(self, kind)]
        data = "" if self.samples is None else f", {self.samples:,} samples"
        return f"{', '.join(found) or 'unknown'}; {self.parameters:,} parameters, depth {self.depth}{data}"


def traits(model: nn.Module, sites: Sites, **known: Any) -> Traits:
    """Returns the traits of a model with these sites.

    Args:
        model: any module.
        sites: of the model.
        known: samples, one_pass and fine_tuning.
    """
    modules = list(model.modules())
    names = [type(module).__name__ for module in modules]
    convolution = any(isinstance(module, _ConvNd) for module in modules)
    recurrent = any(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in modules)
    attention = any(ATTENTION.search(name) for name in names)
    graph = any(hasattr(module, "register_message_forward_hook") for module in modules)
    language = any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in modules)
    linear = any(isinstance(module, nn.Linear) for module in modules)
    return Traits(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        depth=max((_repeated(module) for module in modules), default=0),
        dense=linear and not (convolution or recurrent or attention or graph),
        convolution=convolution,
        recurrent=recurrent,
        attention=attention,
        norm=any("norm" in name.lower() for name in names),
        batch_norm=any(isinstance(module, _BatchNorm) for module in modules),
        vision=any(isinstance(module, nn.Conv2d) and module.in_channels in (1, 3, 4) for module in modules),
        language=language,
        graph=graph,
        speech=any(SPEECH.search(name) for name in names),
        diffusion=any(DIFFUSION.search(name) for name in names),
        dropout=bool(dropping(sites)),
        **known,
    )


def dropping(sites: Sites) -> list[FoundSite]:
    """Returns the sites that drop; of a model that did not run, those with a declared rate."""
    kinds = (*DROPS, "not reached") if sites.unseen else DROPS
    return [site for site in sites if site.kind in kinds and (site.p or site.measured or 0) > 0]


def _repeated(module: nn.Module) -> int:
    """Returns how many children of a list have one class that holds other modules: the blocks of a deep network."""
    if not isinstance(module, (nn.ModuleList, nn.Sequential)):
        return 0
    kinds = [type(child) for child in module if len(list(child.children()))]
    return max((kinds.count(kind) for kind in set(kinds)), default=0)
