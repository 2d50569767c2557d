"""Fine-tune a BERT with LoRA: its dropout is audited, addressed, and set for each kind of site."""

import pydoc_data.topics

import peft
import torch
import transformers
from torch import nn

import thinnet

PAGES = ("assignment", "class", "import", "strings")
rows, labels = [], []
for label, page in enumerate(PAGES):
    codes = [min(ord(letter), 127) for letter in pydoc_data.topics.topics[page]]
    rows += [codes[start : start + 64] for start in range(0, len(codes) - 64, 64)]
    labels += [label] * (len(rows) - len(labels))
x, y = torch.tensor(rows), torch.tensor(labels)

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
config = transformers.BertConfig(vocab_size=128, max_position_embeddings=64, num_labels=len(PAGES), **sizes)
bert = transformers.BertForSequenceClassification(config)  # yours: from_pretrained(FOLDER)
lora = peft.LoraConfig(r=4, lora_dropout=0.1, target_modules=["query", "value"], modules_to_save=["classifier"])
model = peft.get_peft_model(bert, lora)
print(thinnet.sites(model, x[:8]))
print(thinnet.audit(model, x[:8]))

thinnet.replace(model)
thinnet.set_rates(model, {"*lora_dropout*": 0.05, "*dropout": 0.1})  # the update, and the network under it
rng = thinnet.DropoutRNG(seed=0).bind(model)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
losses = []
for step in range(60):
    ids = torch.randperm(len(x))[:32]
    rng.at(step, samples=ids)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x[ids]).logits, y[ids])
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
print(f"loss {sum(losses[:10]) / 10:.2f} in the first ten steps, {sum(losses[-10:]) / 10:.2f} in the last ten")

model.eval()
before = model(x[:8]).logits
merged = model.merge_and_unload()
print(f"outputs before and after merging equal: {torch.allclose(before, merged(x[:8]).logits, atol=1e-5)}")
