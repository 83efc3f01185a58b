"""Types of one's own, and what their classes must declare."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from airflow_provider_mlpipe import ComponentOperator, ImporterOperator, Input
from airflow_provider_mlpipe.artifacts import Artifact, Examples, PropertyType, artifact_class, find_type
from airflow_provider_mlpipe.exceptions import InvalidValueError, PipelineError
from airflow_provider_mlpipe.forms import from_dict, from_message, to_dict, to_message


class Corpus(Artifact):
    PROPERTIES: ClassVar[dict[str, PropertyType]] = {"language": PropertyType.STRING, "share": PropertyType.DOUBLE}


def corpus(**properties: Any) -> Corpus:
    return Corpus(uri="/corpus", id=3, digest="d", properties=properties, custom_properties={"by": ["me"]})


def test_its_forms_are_made_and_read() -> None:
    made = corpus(language="en", share=1)
    assert from_message(to_message(made)).properties == {"language": "en", "share": 1}
    read = from_dict(to_dict(made))
    assert type(read) is Corpus
    assert (read.id, read.digest, read.custom_properties) == (3, "d", {"by": ["me"]})


def test_a_kind_that_has_changed_is_read_as_it_was_written() -> None:
    older = artifact_class("Corpus", {"language": PropertyType.INT})
    assert issubclass(older, Corpus)
    assert older(uri="/corpus", properties={"language": 7, "share": 0.5}).properties["language"] == 7
    assert artifact_class("Corpus", dict(Corpus.PROPERTIES)) is Corpus


def test_what_has_no_class_here_is_pickled_to_where_it_has_none_either() -> None:
    foreign = artifact_class("Foreign", {"size": PropertyType.INT})(uri="/x", properties={"size": 2})
    again = pickle.loads(pickle.dumps(foreign))
    assert (again, type(again)) == (foreign, type(foreign))
    code = "import pickle, sys; found = pickle.load(sys.stdin.buffer); print(found.TYPE_NAME, found.properties)"
    said = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(foreign), capture_output=True, check=True)
    assert said.stdout.decode() == "Foreign {'size': 2}\n"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"TYPE_NAME": ""}, "TYPE_NAME has letters"),
        ({"TYPE_NAME": "x\0"}, "TYPE_NAME has letters"),
        ({"TYPE_NAME": 5}, "TYPE_NAME has letters"),
        ({"TYPE_NAME": "Examples"}, "Examples is a standard one"),
        ({"PROPERTIES": {"words": int}}, "PROPERTIES maps names to PropertyType"),
        ({"PROPERTIES": {"words": "int"}}, "PROPERTIES maps names to PropertyType"),
        ({"PROPERTIES": {1: PropertyType.INT}}, "PROPERTIES maps names to PropertyType"),
        ({"PROPERTIES": None}, "PROPERTIES maps names to PropertyType"),
    ],
)
def test_a_declaration_that_does_not_hold_is_refused(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        type("Wrong", (Artifact,), {"__module__": __name__, **attributes})


def test_two_classes_of_one_name_are_each_their_own_importers() -> None:
    def importer(kind: PropertyType) -> ImporterOperator:
        own = type("Twice", (Artifact,), {"__module__": __name__, "PROPERTIES": {kind.value: kind}})
        return ImporterOperator(source_uri="/x", artifact_type=own)

    first, second = importer(PropertyType.INT), importer(PropertyType.STRING)
    assert set(first.output_types()["result"].PROPERTIES) == {"int"}
    assert set(second.output_types()["result"].PROPERTIES) == {"string"}


@pytest.mark.parametrize("given", [int, None, Artifact, "Nothing", 3])
def test_what_is_no_type_is_refused_by_name(given: Any) -> None:
    with pytest.raises(PipelineError, match=r"here: unknown artifact_type .*; known: .*Examples"):
        find_type(given, "here")
    assert find_type("Examples", "here") is Examples


def test_a_property_that_is_not_declared_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="Corpus has no property 'words'"):
        corpus(words=1)


@pytest.mark.parametrize(
    ("outputs", "hint", "words"),
    [
        ({"../x": Corpus}, Input[Corpus], "cannot be the name of an output"),
        ({"context": Corpus}, Input[Corpus], "cannot be the name of an output"),
        ({"tally": dict}, Input[Corpus], "needs an artifact class"),
        ({"corpus": Corpus}, Input[Corpus], "both an argument and an output"),
        ({"tally": Corpus}, Input[str], r"name the artifact type, such as Input\[Examples\]"),
        ({"tally": Corpus}, Input, r"name the artifact type, such as Input\[Examples\]"),
    ],
)
def test_an_operator_that_does_not_hold_is_refused(outputs: dict[str, Any], hint: Any, words: str) -> None:
    def init(self: Any, *, corpus: Any, **kwargs: Any) -> None:
        ComponentOperator.__init__(self, **kwargs)

    init.__annotations__["corpus"] = hint
    with pytest.raises(PipelineError, match=words):
        type("WrongOperator", (ComponentOperator,), {"__module__": __name__, "OUTPUTS": outputs, "__init__": init})


def test_its_name_is_in_a_message_for_readers_that_have_no_class(tmp_path: Path) -> None:
    assert to_message(corpus()).declared == {"language": "string", "share": "double"}
