"""Dropout of PEFT adapters is addressable."""

import pytest
import transformers
from assertions import assert_same_bits
from edited import SMALL, TEXT, picture, run

import thinnet
from thinnet.models.edit import replace, set_rates, strip

peft = pytest.importorskip("peft")


def test_adapter_dropout_is_replaced_and_addressable() -> None:
    config = peft.LoraConfig(r=2, lora_dropout=0.3, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)), config)
    keys, was, before = list(model.state_dict()), picture(model), run(model, TEXT, training=False)
    edit = replace(model)
    assert len(edit) == 4 and all("lora_dropout" in change.place for change in edit)
    assert list(model.state_dict()) == keys
    assert_same_bits(run(model, TEXT, training=False)[0], before[0])
    assert {"0.3 -> 0.1"} == {change.text for change in set_rates(model, {"*lora_dropout*": 0.1})}
    set_rates(model, {"*lora_dropout*": 0.3})
    rng = thinnet.DropoutRNG(0).bind(model)
    assert len(rng.sites) == 4
    rng.unbind()
    edit.undo()
    assert picture(model) == was
    strip(model)
    assert_same_bits(run(model, TEXT, training=True)[0], before[0])
