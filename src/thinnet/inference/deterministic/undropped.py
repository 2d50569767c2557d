"""A model whose forward method calls dropout as a function, without that dropout."""

from typing import Any, ClassVar

from thinnet.models.edit.equivalents import FUNCTIONS, call_of
from thinnet.models.rewrite.functions import Intercepted, InterceptedForward, Rules


def _without(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Any:
    return call_of(function, args, kwargs).without()


class Undropped(InterceptedForward):
    """Replaces `forward` of a model: dropout functions return their input, and attention keeps all of its weights."""

    rules: ClassVar[Rules] = dict.fromkeys(FUNCTIONS, _without)
