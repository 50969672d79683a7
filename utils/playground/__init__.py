"""The playground: a GAN in the plane, where the game can be watched move by move.

The data are points: a ring of Gaussians, or whatever the learner draws. The discriminator's
opinion of every place is the picture's background; real points and samples lie over it. Each
player moves at a click, or both play on while rates, loss and data are changed under their hands.

A lesson brings the players (`Players`): two small networks of any framework, with NumPy at the
borders.
"""

from utils.playground.game import Playground
from utils.playground.players import Cloud, Players

__all__ = ["Cloud", "Players", "Playground"]
