"""Was this done before?"""
