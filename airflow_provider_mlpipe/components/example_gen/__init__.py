"""ExampleGen: files in, split and serialized tf.Examples out."""
