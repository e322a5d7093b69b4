"""Results as people and as other machines read them.

Owns every format that a finished run is written in, and how the artifacts of an arm are shown.
It takes ``model.RunResult`` as it is: nothing is run or judged here, and no line knows how a
scenario works. What comes out of a guest is hostile text until ``plain.clean`` saw it.
"""
