"""ExampleGen: converts files to splits of serialized tf.Examples."""
