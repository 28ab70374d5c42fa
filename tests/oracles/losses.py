"""All losses: one list for the tests that run over every case."""

from tests.oracles import losses_classes, losses_elements, losses_structured

CASES = [*losses_elements.CASES, *losses_classes.CASES, *losses_structured.CASES]
