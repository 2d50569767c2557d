"""The values of every seed in an Optuna storage, so that an interrupted run goes on where it stopped."""

import hashlib
import inspect
import sys
from collections.abc import Mapping

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from thinnet.reproductions import claim as rules
from thinnet.reproductions import networks, pictures
from thinnet.reproductions.claim import Claim
from thinnet.reproductions.pictures import Pictures
from thinnet.study.workers.database import storage_at

SEED, VALUES = "seed", "values"


class Values:
    """The values of the seeds of one claim.

    Args:
        url: of the database.
        claim: whose values are kept.
        data: the pictures; others, or another version of the experiment, have values of their own.
    """

    def __init__(self, url: str, claim: Claim, data: Pictures) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        name = f"thinnet reproduce {claim.name} {_version(claim)} {data.digest()}"
        self._study = optuna.create_study(study_name=name, storage=storage_at(url), load_if_exists=True)

    def finished(self) -> dict[int, dict[str, float]]:
        """Returns the values by seed."""
        rows = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return {row.params[SEED]: row.user_attrs[VALUES] for row in rows}

    def add(self, seed: int, values: Mapping[str, float]) -> None:
        """Keeps the values of a seed, in one step."""
        trial = create_trial(
            value=next(iter(values.values())),
            params={SEED: seed},
            distributions={SEED: IntDistribution(0, 2**31 - 1)},
            user_attrs={VALUES: dict(values)},
        )
        self._study.add_trial(trial)


def _version(claim: Claim) -> str:
    """Returns a hash of the code that an experiment consists of."""
    found = hashlib.sha256()
    for module in (sys.modules[claim.measure.__module__], networks, pictures, rules):
        found.update(inspect.getsource(module).encode())
    return found.hexdigest()[:12]
