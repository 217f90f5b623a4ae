"""Checks what the condition of an authorisation asks: only what the contract offers, and origin only when it is named.

A condition may ask for the contract's decision fields (with `_` for `-`), `age` and `kind`. Fields of the category
`origin` (nationality, descent) are denied to it unless the authorisation names them in `conditionMayUse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import cel

from integrator.directory.check_contract import Finding
from integrator.directory.plain import suggest
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
# CEL's standard library as far as conditions need it; what the library calls operators begins with no letter.
_FUNCTIONS = frozenset(
    """size contains startsWith endsWith matches has int uint double string bool type duration timestamp getFullYear
    getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear min max""".split()  # noqa: SIM905  a list of words
)


def check_condition(authorisation: Authorisation, contract: Contract) -> Iterator[Finding]:
    """Yield what the condition asks and may not, or cannot."""
    for at, name in enumerate(authorisation.condition_may_use):
        if name not in contract.decision_fields:
            message = f"The contract has no decision field {name}.{suggest(name, contract.decision_fields)}"
            yield "condition", f"conditionMayUse[{at}]", message
    if authorisation.condition is None:
        return
    try:
        program = cel.compile(authorisation.condition)
    except ValueError as error:
        # The evaluator draws a picture under the first line; that line says what it is.
        text = str(error).partition(": ERROR: ")[2].partition("\n")[0] or "it cannot be read"
        yield "condition", "condition", f"The condition is no CEL expression: {text}"
        return
    yield from _check_variables(program.variables(), authorisation, contract)
    for function in program.functions():
        if function not in _FUNCTIONS and function[0].isalpha():
            yield "condition", "condition", f"Conditions do not know the function {function}."


def _check_variables(variables: list[str], authorisation: Authorisation, contract: Contract) -> Iterator[Finding]:
    fields = {name.replace("-", "_"): name for name in contract.decision_fields}
    allowed = {"kind", *fields} | ({"age"} if contract.roles.birth_date else set[str]())
    # The evaluator counts the names that `exists(x, …)` and its like bring with them.
    bound = set(_BOUND.findall(authorisation.condition or "")) - allowed
    for variable in variables:
        if variable in bound:
            continue
        if variable == "age" and variable not in allowed:
            yield "condition", "condition", "The stream has no role birthDate, so a condition cannot ask for the age."
        elif variable not in allowed:
            message = f"A condition cannot ask for {variable}: it may ask for {', '.join(sorted(allowed))}."
            yield "condition", "condition", message
        elif (name := fields.get(variable)) is not None and name not in authorisation.condition_may_use:
            note = contract.note(contract.decision_fields[name])
            if note is None or note.category == "origin":
                message = f"The condition asks for {name}, which tells of origin: conditionMayUse must name it."
                yield "condition-origin", "condition", message
