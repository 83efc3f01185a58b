"""A component of one's own, as a user would write it: a DAG file with types of its own, and its executor beside it."""

from __future__ import annotations

from pathlib import Path


def write(dags: Path, *, texts: Path, pipeline_root: Path) -> Path:
    """Writes both to a subfolder of the DAGs folder, and a text to count; returns the DAG file."""
    texts.mkdir()
    (texts / "a.txt").write_text("to be or not to be")
    team = dags / "team"
    team.mkdir(parents=True)
    (team / "executor.py").write_text(_EXECUTOR)
    path = team / "words.py"
    path.write_text(_DAG_FILE.format(source=texts, root=pipeline_root))
    return path


_DAG_FILE = '''
from typing import Any

from airflow_provider_mlpipe import (
    Artifact,
    ComponentOperator,
    ImporterOperator,
    Input,
    OptionalInput,
    PropertyType,
    ResolverOperator,
    Value,
    create_dag,
)


class Corpus(Artifact):
    """Text files."""

    PROPERTIES = {{"language": PropertyType.STRING}}


class Tally(Artifact):
    """`tally.json`, how often each word is there."""

    TYPE_NAME = "WordTally"
    PROPERTIES = {{"words": PropertyType.INT, "counts": PropertyType.STRUCT}}

    def summary(self) -> str:
        return f"{{self.properties['words']}} words"


class WordCountOperator(ComponentOperator):
    """Counts words."""

    OUTPUTS = {{"tally": Tally}}

    def __init__(
        self, *, corpus: Input[Corpus], before: OptionalInput[Tally] = None, least: Value[int] = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.corpus = corpus
        self.before = before
        self.least = least


corpus = ImporterOperator(
    task_id="Corpus", source_uri="{source}", artifact_type=Corpus, properties={{"language": "en"}}
)
first = WordCountOperator(corpus=corpus.outputs["result"])
last = ResolverOperator(task_id="Last", strategy="LatestArtifact", artifact_type=Tally)
second = WordCountOperator(
    task_id="Second", corpus=corpus.outputs["result"], before=last.outputs["result"], least=2
)
dag = create_dag("word_count", [corpus, first, last, second], pipeline_root="{root}")
dag.set_dependency("WordCount", "Last")
'''

_EXECUTOR = """
import json
from collections import Counter
from pathlib import Path

from airflow_provider_mlpipe import Produced


def run(*, corpus, before, least, tally, context):
    assert corpus.properties == {"language": "en"} and corpus.TYPE_NAME == "Corpus"
    words = Counter(word for path in Path(corpus.uri).glob("*.txt") for word in path.read_text().split())
    counts = {word: count for word, count in sorted(words.items()) if count >= least}
    earlier = before.properties["counts"] if before else {}
    Path(tally.uri, "tally.json").write_text(json.dumps({"counts": counts, "earlier": earlier}))
    return {"tally": Produced(properties={"words": len(counts), "counts": counts})}
"""
