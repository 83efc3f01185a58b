"""How do I write a pipeline?"""
