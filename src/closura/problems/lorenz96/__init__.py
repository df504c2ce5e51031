"""The two-scale Lorenz-96 system: slow variables on a circle, each coupled to fast ones that a closure stands for."""
