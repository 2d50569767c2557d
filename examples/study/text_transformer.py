"""A Hugging Face model, for `thinnet study examples/study/text_transformer.py`.

It tells from which page of Python's documentation a line is.
Built from a config with random weights; `from_pretrained(folder)` in its place studies fine-tuning.
"""

import pydoc_data.topics

import torch
import transformers

epochs, batch, learning_rate = 8, 32, 1e-3
TOPICS, LENGTH = ("assignment", "class", "import", "strings"), 64


def model() -> torch.nn.Module:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = transformers.BertConfig(vocab_size=128, max_position_embeddings=LENGTH, num_labels=len(TOPICS), **sizes)
    return transformers.BertForSequenceClassification(config)


def data():
    rows, labels = [], []
    for label, topic in enumerate(TOPICS):
        text = " ".join(pydoc_data.topics.topics[topic].split())
        for start in range(0, len(text) - LENGTH, LENGTH):
            rows.append([min(ord(letter), 127) for letter in text[start : start + LENGTH]])
            labels.append(label)
    return torch.tensor(rows), torch.tensor(labels)
