"""What papers report about a method, and for which networks: the rows that `recommend` chooses from."""

from collections.abc import Callable
from typing import NamedTuple

from thinnet.models.recommend.traits import Traits


class Evidence(NamedTuple):
    """A method for some networks, with a published effect.

    Args:
        method: its name in `thinnet.nn` or `thinnet.losses`, or "none": no dropout.
        fits: whether a network is of the kind that the source measured.
        place: where the method goes.
        rates: rates to try; of a method without a rate, ().
        reason: why it fits, in one sentence.
        effect: what the source measured: the data, and the number without and with the method.
        source: the paper, with the table or section.
        schedule: the schedule of the study, if the source used one.
    """

    method: str
    fits: Callable[[Traits], bool]
    place: str
    rates: tuple[float, ...]
    reason: str
    effect: str
    source: str
    schedule: str = ""


SRIVASTAVA = "Srivastava et al. 2014, JMLR 15:1929"
MERITY = "Merity, Keskar, Socher 2018, arXiv:1708.02182, table 4"
LIU = "Liu et al. 2023, ICML, arXiv:2303.01500; numbers of the authors' repository facebookresearch/dropout"

EVIDENCE = (
    Evidence(
        "none",
        lambda net: net.one_pass and net.language,
        "everywhere",
        (),
        "each token is seen once, so there is little to overfit",
        "BERT and Pythia 160M and 1.4B, one epoch: every task is better without dropout; early dropout is worse than none",
        "Liu, Bauer, Manning 2025, Findings of ACL, arXiv:2505.24788",
    ),
    Evidence(
        "none",
        lambda net: net.samples is not None and net.samples <= 500 and net.dense,
        "everywhere",
        (),
        "at most 500 samples: the network can overfit them in spite of dropout",
        "MNIST with 100 and 500 samples: dropout gives no improvement; with more data the gain grows, then declines",
        f"{SRIVASTAVA}, section 7.4",
    ),
    Evidence(
        "ConditionDropout",
        lambda net: net.diffusion,
        "the label or text embedding",
        (0.1, 0.2),
        "guidance at inference needs the unconditional model",
        "ImageNet 64 x 64: p of 0.1 and 0.2 perform about equally well, and p = 0.5 worse",
        "Ho and Salimans 2022, arXiv:2207.12598, section 4.2",
    ),
    Evidence(
        "SpecAugment",
        lambda net: net.speech,
        "the spectrogram",
        (),
        "the input is speech",
        "LibriSpeech test-other: 6.8 % WER without a language model; the best earlier hybrid system: 7.5 %",
        "Park et al. 2019, Interspeech, arXiv:1904.08779, abstract",
    ),
    Evidence(
        "NEFTune",
        lambda net: net.language and net.fine_tuning,
        "the token embedding",
        (),
        "instruction fine-tuning of a language model",
        "LLaMA-2-7B on Alpaca: AlpacaEval win rate from 29.8 % to 64.7 %; benchmarks of knowledge stay the same",
        "Jain et al. 2024, ICLR, arXiv:2310.05914, abstract",
    ),
    Evidence(
        "r_drop_loss",
        lambda net: net.attention and net.language and net.dropout and not net.one_pass,
        "the loss",
        (),
        "the network has dropout, and two passes per step can be afforded",
        "Transformer: 30.91 BLEU on WMT14 English-German and 43.95 on English-French, the best at its time",
        "Liang et al. 2021, NeurIPS, arXiv:2106.14448, abstract",
    ),
    Evidence(
        "Dropout",
        lambda net: net.attention and net.language and not net.one_pass,
        "the outputs of attention and feed-forward layers, and the embeddings",
        (0.1, 0.2),
        "transformer that sees its data several times",
        "WMT14 English-German, base model on newstest2013: BLEU 24.6 without, 25.8 at 0.1, 25.5 at 0.2",
        "Vaswani et al. 2017, NeurIPS, arXiv:1706.03762, table 3 (D)",
    ),
    Evidence(
        "TokenBypass",
        lambda net: net.attention and net.depth >= 6 and net.language,
        "all blocks but the first and the last",
        (0.5,),
        "deep transformer: time is the limit",
        "GPT-3 1.3B: saves 33.3 % of the computation and 25.6 % of the time at similar zero-shot results",
        "Yao et al. 2022, arXiv:2211.11586, abstract",
    ),
    Evidence(
        "DropPath",
        lambda net: net.vision and net.norm and not net.batch_norm and net.depth >= 2 and net.parameters < 30e6,
        "the branches of all blocks",
        (0.1, 0.5),
        "small vision network: it underfits, and noise at the start of training helps the fit",
        "ImageNet top-1 without, with a constant and an early rate: ViT-T 73.9, 72.6, 74.4; ConvNeXt-F 76.1, 75.5, 76.3",
        LIU,
        "early",
    ),
    Evidence(
        "DropPath",
        lambda net: net.vision and net.attention and net.parameters >= 30e6,
        "the branches of all blocks",
        (0.1, 0.4),
        "large vision transformer: it overfits late in training",
        "ImageNet, ViT-B: top-1 from 81.6 with a constant rate to 82.3 with a late one",
        LIU,
        "late",
    ),
    Evidence(
        "PatchDropout",
        lambda net: net.vision and net.attention,
        "behind the position embedding",
        (0.5,),
        "tokens are patches of images, and their number sets the cost",
        "ImageNet: at least 50 % less computation and memory",
        "Liu et al. 2023, WACV, arXiv:2208.07220, abstract",
    ),
    Evidence(
        "DropBlock2d",
        lambda net: net.convolution and net.batch_norm and not net.attention,
        "the convolutions and skip connections of the last two stages",
        (0.05, 0.1),
        "feature maps are correlated in space, so single elements say what their neighbours say",
        "ImageNet, ResNet-50: top-1 from 76.5 to 78.1",
        "Ghiasi, Lin, Le 2018, NeurIPS, arXiv:1810.12890, table 1",
        "linear",
    ),
    Evidence(
        "StochasticDepth",
        lambda net: net.convolution and net.batch_norm and net.depth >= 8,
        "the residual branches, rising with depth",
        (0.2, 0.5),
        "deep residual network: skipped blocks also save time",
        "CIFAR-10, ResNet-110: test error from 6.41 % to 5.25 %",
        "Huang et al. 2016, ECCV, arXiv:1603.09382, table 1",
    ),
    Evidence(
        "Cutout",
        lambda net: net.convolution and net.batch_norm and not net.attention,
        "the normalised input images",
        (),
        "the input are small images",
        "CIFAR-10, ResNet-18: test error from 4.72 % to 3.99 %",
        "DeVries and Taylor 2017, arXiv:1708.04552, table 1",
    ),
    Evidence(
        "Dropout",
        lambda net: net.convolution and not (net.norm or net.attention or net.recurrent),
        "all layers, rising with depth: 0.1 on the input to 0.5 on dense layers",
        (0.1, 0.25, 0.5),
        "convolutions without normalisation",
        "SVHN: test error from 3.95 % to 3.02 % in dense layers alone, to 2.55 % in all layers",
        f"{SRIVASTAVA}, table 3",
    ),
    Evidence(
        "WeightDrop",
        lambda net: net.recurrent and net.language,
        "the hidden-to-hidden weights",
        (0.5,),
        "recurrent language model: dropping its state would damage the memory",
        "Penn Treebank: test perplexity 58.8 with it and 68.9 without, the largest loss of all parts",
        MERITY,
    ),
    Evidence(
        "EmbeddingDropout",
        lambda net: net.recurrent and net.language,
        "the embedding",
        (0.1,),
        "recurrent language model with a vocabulary of words",
        "Penn Treebank: test perplexity 58.8 with it and 62.7 without",
        MERITY,
    ),
    Evidence(
        "VariationalLSTM",
        lambda net: net.recurrent,
        "in place of the recurrent layers",
        (0.3, 0.5),
        "recurrent layers: one mask for all steps keeps the memory",
        "Penn Treebank, large LSTM: test perplexity from 78.4 with a new mask at each step to 75.2",
        "Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287, table 1",
    ),
    Evidence(
        "DropEdge",
        lambda net: net.graph,
        "the edges, once per step",
        (0.2, 0.5),
        "graph network: deep ones smooth features over the graph",
        "Cora, full supervision, GCN of 32 layers: accuracy from 71.6 to 74.6; of 2 layers from 86.1 to 86.5",
        "Rong et al. 2020, ICLR, arXiv:1907.10903; numbers of the authors' repository DropEdge",
    ),
    Evidence(
        "Dropout",
        lambda net: net.dense,
        "behind the activation of each hidden layer; 0.2 on the input",
        (0.1, 0.2, 0.5),
        "dense layers",
        "MNIST, without knowledge of pixels: test error from 1.60 % to 1.25 %",
        f"{SRIVASTAVA}, table 2",
    ),
    Evidence(
        "GaussianDropout",
        lambda net: net.dense,
        "in place of Dropout, at the same rates",
        (0.1, 0.2, 0.5),
        "dense layers, and no unit has to be zero",
        "MNIST, two layers of 1024: test error 1.08 % with Dropout and 0.95 % with Gaussian noise",
        f"{SRIVASTAVA}, table 10",
    ),
    Evidence(
        "max_norm_",
        lambda net: net.dense and net.dropout,
        "the weights of each hidden layer, after each optimiser step",
        (),
        "dense layers with dropout: it allows a higher learning rate",
        "MNIST: test error from 1.25 % with Dropout and L2 to 1.05 % with Dropout and max-norm",
        f"{SRIVASTAVA}, table 9",
    ),
)
