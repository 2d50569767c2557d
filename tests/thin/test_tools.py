"""The other tools work on a thinned model."""

import torch
from torch import nn

import thinnet


def thinned() -> tuple[nn.Module, torch.Tensor]:
    model, x = nn.Sequential(nn.Linear(13, 40), nn.ReLU(), nn.Dropout(0.25), nn.Linear(40, 5)), torch.randn(64, 13)
    thinnet.thin(model, x, always=True)
    return model, x


def test_sites_measures_the_rate_of_a_thinned_chain() -> None:
    model, x = thinned()
    (site,) = thinnet.sites(model, x)
    assert (site.name, site.kind, site.p, site.on_in_eval) == ("2", "dropout", 0.25, False)
    assert site.measured == 0.25 and site.effect and site.sharing == "axis 0 of 2"
    seen = []
    model[1].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    model.train()(x)
    assert seen == [(64, 30)]  # thinned again after tracing


def test_an_audit_accepts_the_shared_mask_of_a_thinned_site() -> None:
    model, x = thinned()
    assert [finding.rule.code for finding in thinnet.audit(model, x) if finding.rule.severity != "note"] == []
    thinnet.thin(model, undo=True)

    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (torch.rand(1, x.shape[1]) > 0.5) * 2 if self.training else x

    model[2] = Own()
    assert "AUD401" in [finding.rule.code for finding in thinnet.audit(model, x)]


def test_set_rates_and_strip_work_after_thinning() -> None:
    model, x = thinned()
    thinnet.set_rates(model, {"2": 0.5})
    model.train()(x)
    chain = vars(model[2])["forward"].chain
    assert chain.kept is not None and chain.kept.width == 20
