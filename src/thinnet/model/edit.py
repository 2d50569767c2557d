"""Dropout put into a model, changed and taken out: every edit is a diff that a person can read, and can be undone."""

from thinnet.model.editing.change import Change as Change
from thinnet.model.editing.change import Edit as Edit
from thinnet.model.editing.freeze import freeze as freeze
from thinnet.model.editing.insert import insert as insert
from thinnet.model.editing.replace import replace as replace
from thinnet.model.editing.set_rates import set_rates as set_rates
from thinnet.model.editing.strip import strip as strip
