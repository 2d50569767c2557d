"""Inserts, replaces, changes and removes dropout in a model. Each edit prints as a diff and can be undone."""

from thinnet.models.edit.freeze import freeze as freeze
from thinnet.models.edit.insert import insert as insert
from thinnet.models.edit.replace import replace as replace
from thinnet.models.edit.set_rates import set_rates as set_rates
from thinnet.models.edit.strip import strip as strip
from thinnet.models.rewrite.edits import Change as Change
from thinnet.models.rewrite.edits import Edit as Edit
