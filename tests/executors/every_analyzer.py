"""A user module with all that TFT has for analyzing data, but for what only its own code computes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    x, vector, key = inputs["x"], inputs["vector"], tf.squeeze(inputs["key"], 1)
    words, sparse, number = inputs["words"], inputs["sparse"], inputs["number"]
    weight = tf.abs(x)
    flat = tf.squeeze(x, 1)

    def everywhere(value: Any) -> Any:
        value = tf.reshape(tf.cast(value, tf.float32), [1, -1])
        return tf.tile(value, [tf.shape(x)[0], 1])

    outputs = {
        "id": inputs["id"],
        "z": tft.scale_to_z_score(x),
        "z_elementwise": tft.scale_to_z_score(vector, elementwise=True),
        "z_sparse": tft.scale_to_z_score(sparse),
        "z_by_key": tft.scale_to_z_score_per_key(flat, key),
        "z_by_large_key": tft.scale_to_z_score_per_key(flat, key, key_vocabulary_filename="z_keys"),
        "min_max": tft.scale_by_min_max(x, -1, 1),
        "zero_one": tft.scale_to_0_1(vector, elementwise=True),
        "zero_one_by_key": tft.scale_to_0_1_per_key(flat, key),
        "gaussian": tft.scale_to_gaussian(x),
        "sum": everywhere(tft.sum(number)),
        "sum_elementwise": everywhere(tft.sum(vector, reduce_instance_dims=False)),
        "extremes": everywhere(tf.cast([tft.min(number), tft.max(number)], tf.float32)),
        "size": everywhere(tft.size(words)),
        "mean_var": everywhere([tft.mean(x), tft.var(x)]),
        "counts": everywhere(tft.count_per_key(key)[1]),
        "histogram": everywhere(tft.histogram(x, boundaries=[-1.0, 0.0, 1.0])[0]),
        "histogram_of_words": everywhere(tft.histogram(key, categorical=True)[0]),
        "covariance": everywhere(tft.covariance(vector, tf.float32)),
        "pca": tf.matmul(vector, tf.abs(tft.pca(vector, 2, tf.float32))),
        "buckets": tft.bucketize(x, 4),
        "buckets_of_vector": tft.bucketize(vector, 3, elementwise=True),
        "buckets_by_key": tft.bucketize_per_key(flat, key, 3),
        "weighted_quantiles": everywhere(tft.quantiles(x, 4, 0.01, weights=weight)),
        "applied_buckets": tft.apply_buckets(x, [[-0.5, 0.5]]),
        "tokens": tft.compute_and_apply_vocabulary(words, num_oov_buckets=2, top_k=5, vocab_filename="top"),
        "frequent": tft.compute_and_apply_vocabulary(words, frequency_threshold=3, default_value=-7),
        "numbers": tft.compute_and_apply_vocabulary(number, vocab_filename="numbers"),
        "weighted": tft.compute_and_apply_vocabulary(inputs["key"], weights=tf.ones_like(x), vocab_filename="weighted"),
        "shuffled": tft.compute_and_apply_vocabulary(words, fingerprint_shuffle=True, vocab_filename="shuffled"),
        "in_records": tft.compute_and_apply_vocabulary(words, file_format="tfrecord_gzip", vocab_filename="records"),
        "empty": tft.compute_and_apply_vocabulary(words, frequency_threshold=10**6, vocab_filename="empty"),
        # A second phase, and a third: analyzers of what the first ones made.
        "twice": tft.scale_to_z_score(tf.abs(x - tft.mean(x))),
        "thrice": tft.bucketize(tf.cast(tft.compute_and_apply_vocabulary(inputs["key"]), tf.float32), 3),
    }
    tft.vocabulary(words, store_frequency=True, vocab_filename="with_counts")
    tft.vocabulary(words, reserved_tokens=["[PAD]", "ä"], vocab_filename="reserved")
    return outputs
