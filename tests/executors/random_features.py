"""A user module for whatever features there are: `custom_config["kinds"]` has {name: FLOAT, INT or BYTES}."""

from __future__ import annotations

from typing import Any

import tensorflow_transform as tft


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    outputs = {"id": inputs["id"]}
    for name, kind in custom_config["kinds"].items():
        if kind != "BYTES":
            outputs[f"{name}_scaled"] = tft.scale_to_z_score(inputs[name])
            outputs[f"{name}_01"] = tft.scale_to_0_1(inputs[name])
        if kind != "FLOAT":
            outputs[f"{name}_token"] = tft.compute_and_apply_vocabulary(inputs[name], num_oov_buckets=1, top_k=3)
        outputs[name] = inputs[name]
    return outputs
