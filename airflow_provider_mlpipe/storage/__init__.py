"""Where do the bytes lie?"""
