"""A transformer on little text: it tells from which page of Python's documentation a few words are.

Built from a config, with random weights; `--weights FOLDER` fine-tunes a trained one instead.
"""

import numpy as np
from torch import Tensor, nn

from thinnet.report.extras import need
from thinnet.study.data.sources.texts import BUCKETS, PADDING, words
from thinnet.study.networks.text import documents

epochs, batch, learning_rate = 12, 16, 1e-3
rates = (0.0, 0.1, 0.2, 0.4)
LENGTH = 32


class Classifier(nn.Module):
    """Takes tokens (N, T); returns the logits (N, classes) of a transformer that does not see the padding."""

    def __init__(self, transformer: nn.Module, padding: int) -> None:
        super().__init__()
        self.transformer, self.padding = transformer, padding

    def forward(self, x: Tensor) -> Tensor:
        return self.transformer(input_ids=x, attention_mask=(x != self.padding).long()).logits


def model(width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    transformers = need("transformers", "thinnet study finetune")
    units = 4 * round(16 * width)
    sizes = {"hidden_size": units, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * units}
    config = transformers.BertConfig(
        vocab_size=BUCKETS, max_position_embeddings=LENGTH, num_labels=len(documents()[2]), pad_token_id=PADDING, **sizes
    )
    return Classifier(transformers.BertForSequenceClassification(config), PADDING)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return words (N, T) and the page (N,)."""
    texts, pages, _ = documents()
    return words(texts)[0][:, :LENGTH], np.array(pages)
