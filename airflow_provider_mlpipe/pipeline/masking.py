"""Keeps secrets out of what is stored, logged and printed.

A value of a parameter is secret if its template names a connection or a Variable, if Airflow's masker knows it (such as
the password of a connection that was read), or if its name says so (`password`, `token`, …: Airflow's list, and
`[core] sensitive_var_conn_names`). In place of it stands a digest, so that a change of it is seen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

from airflow.sdk._shared.secrets_masker import redact
from jinja2 import TemplateError, meta

from airflow_provider_mlpipe.caching.fingerprint import HIDDEN, canonical_json
from airflow_provider_mlpipe.nested import KeyPath, paths, replaced

if TYPE_CHECKING:
    from jinja2 import Environment

_FROM_AIRFLOW = frozenset({"conn", "var"})  # the names under which templates find connections and Variables
_SHORTEST = 5  # characters; Airflow's masker, too, leaves alone what is so short that it may be anything


def named_in_templates(templates: Mapping[str, Any], environment: Callable[[], Environment]) -> frozenset[KeyPath]:
    """The paths of the values whose templates name a connection or Variable; a path begins with a parameter's name.

    `environment` is called only if there is a template: to make one takes longer than all else here.
    """
    texts = {path: text for path, text in paths(templates) if isinstance(text, str) and "{" in text}
    if not texts:
        return frozenset()
    jinja = environment()
    return frozenset(path for path, text in texts.items() if _names_a_secret(text, jinja))


def hidden(parameters: Mapping[str, Any], named: frozenset[KeyPath], key: Callable[[], bytes]) -> dict[str, Any]:
    """The parameters with a digest in the place of each secret, keyed with the bytes that `key` returns.

    `named` is what `named_in_templates` found.
    """

    def hide(path: KeyPath, value: Any) -> Any:
        return digest(value, key()) if _is_secret(path, value, named) else value

    return cast(dict[str, Any], replaced(parameters, hide))


def secret_texts(parameters: Mapping[str, Any], named: frozenset[KeyPath]) -> frozenset[str]:
    """The secrets among the parameters that an error may quote, in all their spellings."""
    found = (
        value
        for path, value in paths(parameters)
        if isinstance(value, str) and len(value) >= _SHORTEST and _is_secret(path, value, named)
    )
    return frozenset(spelling for value in found for spelling in _spellings(value))


def masked(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """The text without these secrets, and without those that Airflow's masker knows."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return str(redact(text))


def digest(value: Any, key: bytes) -> str:
    """What stands for a secret value: equal for equal values, and of no use without the key."""
    return HIDDEN + hmac.digest(key, canonical_json(value).encode(errors="surrogatepass"), hashlib.sha256).hex()[:32]


def _names_a_secret(text: str, environment: Environment) -> bool:
    try:
        return not _FROM_AIRFLOW.isdisjoint(meta.find_undeclared_variables(environment.parse(text)))
    except TemplateError:  # its rendering says what is wrong
        return False


def _is_secret(path: KeyPath, value: Any, named: frozenset[KeyPath]) -> bool:
    return any(path[: len(above)] == above for above in named) or _is_known(path, value)


def _is_known(path: KeyPath, value: Any) -> bool:
    names = [part for part in path if isinstance(part, str)]
    return isinstance(value, str) and (redact(value) != value or any(redact(value, name) != value for name in names))


def _spellings(value: str) -> Iterator[str]:
    """As it is, and as it stands in a repr, in JSON and in a URL."""
    yield from {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
    }
