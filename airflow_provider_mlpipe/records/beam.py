"""Apache Beam pipelines: in this process unless `beam_pipeline_args` name a runner."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

_IN_MEMORY = (None, "DirectRunner", "SwitchingDirectRunner", "FnApiRunner")


def pipeline(args: Sequence[str] = ()) -> beam.Pipeline:
    """Make a Beam pipeline from `context.beam_pipeline_args`, to be entered by `with`.

    With no `--runner` among `args`, or with `--runner=DirectRunner`, it runs in memory in this process. The runner is
    built here and never looked up by the name DirectRunner: that one is a switch which may pick Prism, a binary that
    Beam would first download.
    """
    options = PipelineOptions(list(args))
    if options.view_as(StandardOptions).runner in _IN_MEMORY:
        return beam.Pipeline(runner=FnApiRunner(), options=options)
    return beam.Pipeline(options=options)
