"""A transformer from the user's folder of weights, fine-tuned on texts by class."""

import os

from torch import nn

from thinnet.report.extras import need
from thinnet.study.networks.finetune import Classifier

epochs, batch, learning_rate = 4, 16, 5e-5
rates = (0.0, 0.1, 0.2, 0.3)


def model(folder: str, padding: int, classes: int) -> nn.Module:
    """Return the network with the weights of the folder and a new head; the study sets its rates."""
    transformers = need("transformers", "thinnet study --weights")
    transformers.logging.set_verbosity_error()  # it would warn of the new head in every trial
    transformers.utils.logging.disable_progress_bar()
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        os.fspath(folder), num_labels=classes, ignore_mismatched_sizes=True, local_files_only=True
    )
    network.config.pad_token_id = padding
    return Classifier(network, padding)
