"""How good is a network, and what does it predict?"""
