"""What will a run do?"""
