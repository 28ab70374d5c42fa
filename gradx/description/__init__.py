"""Who gets what: roles, transformations, rates and state of every parameter, as a table."""

from gradx.description.cards import card as card
from gradx.description.rows import describe as describe
from gradx.description.table import Description as Description, Row as Row
